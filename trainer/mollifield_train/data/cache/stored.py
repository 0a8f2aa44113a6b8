"""Frames in a cache: what is known of all of them, in memory, and each of them, from disk."""

import json
import os
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from ..frames import LABELS, Frame, Reading
from .shard import (
    ENERGY,
    FORCES,
    ISOLATED,
    MASKED,
    PERIODIC,
    STRESS,
    STRESS_IS_ZERO,
    open_shard,
    record_arrays,
    record_size,
)
from .source import Source

Value = TypeVar("Value")

N_OPEN = 100
"""Shards that are open at a time."""
_FLAGS = dict(zip(LABELS, (ENERGY, FORCES, STRESS), strict=True))


class Store:
    """Frames of several files, counted through all of them."""

    def __init__(self, sources: Sequence[Source], shards: Sequence[Sequence[Path]], reading: Reading) -> None:
        """`shards` of each file. Raises ValueError for one that is damaged."""
        self.paths = [path for group in shards for path in group]
        self.presences = []
        rows = []
        compositions: dict[tuple[tuple[str, int], ...], int] = {}
        groups: dict[str, int] = {}
        for path in self.paths:
            shard = open_shard(path)
            if shard is None:
                raise _damaged(path)
            own = shard.rows.copy()
            said = [tuple(found.items()) for found in shard.compositions]
            own["composition"] = _numbered(said, compositions)[own["composition"]]
            own["group"] = _numbered(shard.groups, groups)[own["group"]]
            rows.append(own)
            self.presences.append(shard.presence)
        self.compositions: list[Mapping[str, int]] = [dict(items) for items in compositions]
        self.groups = list(groups)
        sizes = [len(own) for own in rows]
        self.shard_ends = np.cumsum(sizes)
        self._shards = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        self._files = [str(source.path) for source in sources]
        self._file_of_shard = [file for file, group in enumerate(shards) for _ in group]
        ends = self.shard_ends[np.cumsum([len(group) for group in shards]) - 1]
        self._starts = [0, *ends.tolist()]
        self.rows = np.concatenate(rows)
        group_weights = [reading.group_weights.get(group, 1.0) for group in self.groups]
        for source, start, end in zip(sources, self._starts, self._starts[1:], strict=False):
            self.rows["weight"][start:end] *= source.origin.weight
        self.rows["weight"] *= np.array(group_weights)[self.rows["group"]]
        # Views of the columns, for a field of a row is looked up by its name each time.
        self.columns = {name: self.rows[name] for name in self.rows.dtype.names or ()}
        self._descriptors = _Descriptors()

    def __len__(self) -> int:
        return len(self.rows)

    def of_files(self, start: int, end: int) -> "StoredFrames":
        """All frames of some files, counted from 0."""
        return StoredFrames(self, np.arange(self._starts[start], self._starts[end]))

    def file(self, k: int) -> str:
        """The file of a frame."""
        return self._files[self._file_of_shard[self._shards[k]]]

    def origin(self, k: int) -> str:
        """The file of a frame, and which of its frames it is."""
        file = self._file_of_shard[self._shards[k]]
        return f"frame {k - self._starts[file]} of {self._files[file]}"

    def load(self, k: int) -> tuple[Frame, np.ndarray, np.ndarray]:
        """A frame and its edges, within cutoff and skin: indices [2, E] and vectors [E, 3].

        Raises ValueError where the record is damaged or gone.
        """
        row = self.rows[k].item()  # plain values all at once, for each look at a field would take as long
        offset, crc, n_atoms, _, n_listed, n_tags, _, _, flags, pbc, energy, *_, weight, _, _ = row
        shard = int(self._shards[k])
        content = np.empty(record_size(n_atoms, n_listed, n_tags, flags), np.uint8)
        n_read = self._descriptors.read(shard, self.paths[shard], content, offset)
        if n_read < len(content) or zlib.crc32(content.data) != crc:
            raise _damaged(self.paths[shard])
        arrays = record_arrays(content, n_atoms, n_listed, flags)
        frame = Frame(
            numbers=arrays["numbers"].astype(np.int64),
            positions=arrays["positions"],
            cell=arrays["cell"],
            pbc=np.array(pbc, dtype=bool),
            energy=energy if flags & ENERGY else None,
            forces=arrays.get("forces"),
            stress=arrays.get("stress"),
            origin=self.origin(k),
            weight=weight,
            tags=json.loads(arrays["tags"].tobytes()) if n_tags else {},
            forces_mask=arrays["forces_mask"].astype(bool) if flags & MASKED else None,
        )
        return frame, arrays["edge_index"].astype(np.int64), arrays["edge_vectors"]


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path}: damaged or cut short; delete it and start again: it will be made again")


def _numbered(values: Sequence[Value], known: dict[Value, int]) -> np.ndarray:
    """Numbers of values, in the order in which they were first met."""
    return np.array([known.setdefault(value, len(known)) for value in values])


class StoredFrame:
    """What is known of a frame without reading it: a `Summary`."""

    __slots__ = ("_store", "k")

    def __init__(self, store: Store, k: int) -> None:
        self._store = store
        self.k = k

    @property
    def n_atoms(self) -> int:
        """As `Summary` has it, like all that follows."""
        return int(self._store.columns["n_atoms"][self.k])

    @property
    def composition(self) -> Mapping[str, int]:
        """Atoms of each element."""
        return self._store.compositions[self._store.columns["composition"][self.k]]

    @property
    def arrangement(self) -> bytes:
        """The same for the same atoms in the same order, periodic in the same directions."""
        return self._store.columns["arrangement"][self.k].tobytes()

    @property
    def volume(self) -> float | None:
        """Å^3."""
        return self._number("volume", PERIODIC)

    @property
    def energy(self) -> float | None:
        """eV."""
        return self._number("energy", ENERGY)

    @property
    def mean_square_force(self) -> float | None:
        """(eV/Å)^2."""
        return self._number("mean_square_force", FORCES)

    @property
    def largest_force(self) -> float | None:
        """eV/Å."""
        return self._number("largest_force", FORCES)

    @property
    def is_stress_zero(self) -> bool:
        """Whether it has a stress, of exactly zero."""
        return self._has(STRESS_IS_ZERO)

    @property
    def labels(self) -> list[str]:
        """Which labels it has."""
        return [label for label, flag in _FLAGS.items() if self._has(flag)]

    @property
    def content(self) -> str:
        """The key of its geometry."""
        return "k" + self._store.columns["content"][self.k].tobytes().hex()

    @property
    def config_type(self) -> str:
        """The group that it belongs to."""
        return self._store.groups[self._store.columns["group"][self.k]]

    @property
    def origin(self) -> str:
        """Where it came from."""
        return self._store.origin(self.k)

    @property
    def file(self) -> str:
        """The file that it came from."""
        return self._store.file(self.k)

    @property
    def is_isolated_atom(self) -> bool:
        """A single atom without periodic images near it."""
        return self._has(ISOLATED)

    def loaded(self) -> Frame:
        """All of it, from disk."""
        return self._store.load(self.k)[0]

    def _has(self, flag: int) -> bool:
        return bool(self._store.columns["flags"][self.k] & flag)

    def _number(self, name: str, flag: int) -> float | None:
        return float(self._store.columns[name][self.k]) if self._has(flag) else None


class StoredFrames(Sequence[StoredFrame]):
    """Some frames of a store."""

    def __init__(self, store: Store, numbers: np.ndarray) -> None:
        self.store = store
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, k: int) -> StoredFrame: ...
    @overload
    def __getitem__(self, k: slice) -> "StoredFrames": ...
    def __getitem__(self, k: int | slice) -> "StoredFrame | StoredFrames":
        if isinstance(k, slice):
            return StoredFrames(self.store, self.numbers[k])
        return StoredFrame(self.store, int(self.numbers[k]))

    def __iter__(self) -> Iterator[StoredFrame]:
        for k in self.numbers.tolist():
            yield StoredFrame(self.store, k)


class _Descriptors:
    """Open shards, for several threads, and for processes that are handed the store."""

    def __init__(self) -> None:
        self._open: dict[int, _Descriptor] = {}
        self._lock = threading.Lock()

    def read(self, shard: int, path: Path, content: np.ndarray, offset: int) -> int:
        """Fill `content` from the place in the file of a shard; the number of bytes that there are."""
        found = self._open.get(shard)
        if found is None:
            found = _Descriptor(path)
            with self._lock:
                if len(self._open) >= N_OPEN:  # the oldest goes, for no shard is read more often than others
                    del self._open[next(iter(self._open))]
                self._open[shard] = found
        return os.preadv(found.number, [content.data], offset)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Descriptors, ()  # another process opens its own


class _Descriptor:
    """Closed when nobody reads from it any more."""

    def __init__(self, path: Path) -> None:
        try:
            self.number = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise ValueError(f"{path}: gone; start again: it will be made again") from None

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
