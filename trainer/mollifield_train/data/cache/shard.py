"""One file of frames with their edges: a header, tables with a few numbers of each frame, and a record for each.

::

    magic | length and CRC of the header | header (JSON) | tables | records

Whoever opens a shard reads header and tables. A record is one piece of bytes, so that a frame costs one read, of a file
that may be larger than memory; nothing is mapped, because a file that is cut short under a map kills the process.
"""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...durable import replacing
from ..frames import CONFIG_TYPE, Frame
from ..keys import Presence
from ..nearby import edges_of, shortest_of_pairs, squares

MAGIC = b"MFSHARD1"
"""With the version of the format."""
_FLOAT, _INDEX = np.dtype("<f8"), np.dtype("<i4")
_PREFIX = np.dtype([("magic", "S8"), ("length", "<u4"), ("crc", "<u4")])

ENERGY, FORCES, STRESS, STRESS_IS_ZERO, ISOLATED, PERIODIC, MASKED = (1 << k for k in range(7))
"""Bits of `flags`; the last two say that all three directions are periodic, and that not all forces count."""

ROW = np.dtype(
    [
        ("offset", "<u8"),  # of the record, in bytes from the beginning of the file
        ("crc", "<u4"),  # of the record
        ("n_atoms", "<u4"),
        ("n_edges", "<u4"),  # within the cutoff
        ("n_listed", "<u4"),  # within cutoff and skin, as many as the record has
        ("n_tags", "<u4"),  # bytes
        ("composition", "<u4"),  # its number in the header, as that of the group
        ("group", "<u4"),
        ("flags", "u1"),
        ("pbc", "u1", 3),
        ("energy", "<f8"),
        ("mean_square_force", "<f8"),
        ("largest_force", "<f8"),
        ("volume", "<f8"),
        ("weight", "<f8"),
        ("arrangement", "V8"),
        ("content", "V12"),
    ]
)
"""What is known of a frame without its record: `Summary`, in numbers."""

PAIR = np.dtype([("frame", "<u4"), ("pair", "<u4"), ("distance", "<f8")])
"""Å: shortest distance of two elements in a frame; frames count within the shard, pairs are those of the header."""


def record_size(n_atoms: int, n_listed: int, n_tags: int, flags: int) -> int:
    """Bytes of a record."""
    n_vectors = n_atoms + 3 + n_listed + (n_atoms if flags & FORCES else 0) + (3 if flags & STRESS else 0)
    return 24 * n_vectors + 8 * n_listed + (2 if flags & MASKED else 1) * n_atoms + n_tags


def record_arrays(content: np.ndarray, n_atoms: int, n_listed: int, flags: int) -> dict[str, np.ndarray]:
    """Views of the bytes of a record, by the names of `Frame`'s fields; `edge_index` is int32.

    What is 8 bytes wide comes first, so that views are aligned.
    """
    cell, edges = 24 * n_atoms, 24 * (n_atoms + 3)
    end = edges + 24 * n_listed
    found = {
        "positions": np.ndarray((n_atoms, 3), _FLOAT, content),
        "cell": np.ndarray((3, 3), _FLOAT, content, cell),
        "edge_vectors": np.ndarray((n_listed, 3), _FLOAT, content, edges),
    }
    if flags & FORCES:
        found["forces"] = np.ndarray((n_atoms, 3), _FLOAT, content, end)
        end += 24 * n_atoms
    if flags & STRESS:
        found["stress"] = np.ndarray((3, 3), _FLOAT, content, end)
        end += 72
    found["edge_index"] = np.ndarray((2, n_listed), _INDEX, content, end)
    end += 8 * n_listed
    found["numbers"] = content[end : end + n_atoms]
    end += n_atoms
    if flags & MASKED:
        found["forces_mask"] = content[end : end + n_atoms]
        end += n_atoms
    found["tags"] = content[end:]
    return found


@dataclass(frozen=True)
class Shard:
    """What an opened shard says without its records."""

    path: Path
    rows: np.ndarray
    """[frames] of `ROW`."""
    pairs: np.ndarray
    """Of `PAIR`."""
    compositions: list[Mapping[str, int]]
    groups: list[str]
    elements: list[tuple[str, str]]
    """Pairs of them."""
    presence: Presence


def write_shard(path: Path, frames: Sequence[Frame], presence: Presence, r_max: float, skin: float) -> None:
    """Search the neighbours of frames out to `r_max + skin` (Å), and write all, atomically.

    Raises ValueError as `edges_of`, and OSError that names the file where there is no room.
    """
    rows = np.zeros(len(frames), ROW)
    pairs: list[tuple[int, int, float]] = []
    names: dict[str, dict[Any, int]] = {"compositions": {}, "groups": {}, "elements": {}}

    def number(kind: str, value: Any) -> int:
        return names[kind].setdefault(value, len(names[kind]))

    records = []
    for k, (row, frame) in enumerate(zip(rows, frames, strict=True)):
        edge_index, edge_vectors = edges_of(frame, r_max + skin)
        near = squares(edge_vectors) < r_max**2 if skin > 0.0 else slice(None)
        for pair, distance in shortest_of_pairs(frame.numbers, edge_index[:, near], edge_vectors[near]).items():
            pairs.append((k, number("elements", pair), distance))
        tags = json.dumps(dict(frame.tags)).encode() if frame.tags else b""
        row["n_atoms"], row["n_edges"], row["n_listed"] = frame.n_atoms, len(edge_vectors[near]), len(edge_vectors)
        row["n_tags"], row["flags"], row["pbc"] = len(tags), _flags(frame), frame.pbc
        row["composition"] = number("compositions", tuple(frame.composition.items()))
        row["group"] = number("groups", frame.tags.get(CONFIG_TYPE, ""))
        for name in ("energy", "mean_square_force", "largest_force", "volume", "weight"):
            value = getattr(frame, name)
            row[name] = np.nan if value is None else value
        row["arrangement"], row["content"] = frame.arrangement, bytes.fromhex(frame.content[1:])
        values = {"edge_index": edge_index, "edge_vectors": edge_vectors, "tags": np.frombuffer(tags, np.uint8)}
        content = np.zeros(size_of(row), np.uint8)
        for name, array in record_arrays(content, frame.n_atoms, len(edge_vectors), row["flags"]).items():
            array[...] = values[name] if name in values else getattr(frame, name)
        row["crc"] = zlib.crc32(content.data)
        records.append(content)
    _write(path, rows, np.array(pairs, PAIR), {kind: list(found) for kind, found in names.items()}, presence, records)


def size_of(row: np.void) -> int:
    """Bytes of the record of a row."""
    return record_size(*(int(row[name]) for name in ("n_atoms", "n_listed", "n_tags", "flags")))


def _flags(frame: Frame) -> int:
    bits = {
        ENERGY: frame.energy is not None,
        FORCES: frame.forces is not None,
        STRESS: frame.stress is not None,
        STRESS_IS_ZERO: frame.is_stress_zero,
        ISOLATED: frame.is_isolated_atom,
        PERIODIC: bool(frame.pbc.all()),
        MASKED: frame.forces_mask is not None,
    }
    return sum(bit for bit, is_set in bits.items() if is_set)


def _write(
    path: Path,
    rows: np.ndarray,
    pairs: np.ndarray,
    names: Mapping[str, Any],
    presence: Presence,
    records: Sequence[np.ndarray],
) -> None:
    header = json.dumps({"n_frames": len(rows), "n_pairs": len(pairs), "presence": vars(presence), **names}).encode()
    start = _PREFIX.itemsize + len(header) + rows.nbytes + pairs.nbytes + 4
    ends = start + np.cumsum([len(record) for record in records])
    rows["offset"] = np.concatenate([[start], ends[:-1]])
    tables = rows.tobytes() + pairs.tobytes()
    prefix = np.array((MAGIC, len(header), zlib.crc32(header)), _PREFIX)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(prefix.tobytes() + header + tables + zlib.crc32(tables).to_bytes(4, "little"))
        for record in records:
            file.write(record.data)


def open_shard(path: Path) -> Shard | None:
    """What a shard says; None where it is no shard, or is damaged or cut short."""
    try:
        with open(path, "rb") as file:
            prefix = np.frombuffer(file.read(_PREFIX.itemsize), _PREFIX)[0]
            header = file.read(int(prefix["length"]))
            if prefix["magic"] != MAGIC or zlib.crc32(header) != prefix["crc"]:
                return None
            said = json.loads(header)
            n_rows, n_pairs = said["n_frames"] * ROW.itemsize, said["n_pairs"] * PAIR.itemsize
            tables, crc = file.read(n_rows + n_pairs), file.read(4)
            if zlib.crc32(tables).to_bytes(4, "little") != crc:
                return None
            rows, pairs = np.frombuffer(tables[:n_rows], ROW), np.frombuffer(tables[n_rows:], PAIR)
            if os.fstat(file.fileno()).st_size != int(rows[-1]["offset"]) + size_of(rows[-1]):
                return None
    except (OSError, ValueError, IndexError, KeyError):
        return None
    return Shard(
        path,
        rows,
        pairs,
        [dict(items) for items in said["compositions"]],
        said["groups"],
        [(first, second) for first, second in said["elements"]],
        Presence(**said["presence"]),
    )
