"""Labelled frames from extended-xyz files.

Every problem is a ValueError that names file, frame, key and atom; frames and atoms count from 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.data import chemical_symbols
from ase.geometry.minkowski_reduction import minkowski_reduce
from ase.stress import voigt_6_to_full_3x3_stress

from .content import content_key
from .keys import LabelKeys, Source, find_label, present, resolve_keys

ISOLATION = 8.0
"""Å. An atom whose periodic images are all farther away is a free atom in a box, not a crystal."""


LABELS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Frame:
    """One labelled configuration of N atoms; float64, eV and Å, stress in ASE's sign."""

    numbers: np.ndarray
    """Atomic numbers [N]."""
    positions: np.ndarray
    """[N, 3], Å."""
    cell: np.ndarray
    """[3, 3], rows are lattice vectors, Å."""
    pbc: np.ndarray
    """[3] bool."""
    energy: float | None
    """Total energy, eV; None where the frame has no such label, as for all labels."""
    forces: np.ndarray | None
    """[N, 3], eV/Å."""
    stress: np.ndarray | None
    """[3, 3], eV/Å^3; None also where not all directions are periodic, whatever the file says."""
    origin: str
    """Where it came from, for messages: 'frame 12 of train.xyz'."""

    @classmethod
    def unlabelled(cls, atoms: ase.Atoms, origin: str) -> "Frame":
        """The geometry of ASE's, unchecked."""
        numbers, pbc = np.array(atoms.numbers, dtype=np.int64), np.array(atoms.pbc)
        return cls(numbers, np.array(atoms.positions), np.array(atoms.cell.array), pbc, None, None, None, origin)

    @cached_property
    def content(self) -> str:
        """The key of its geometry (`data.content`)."""
        return content_key(self.numbers, self.positions, self.cell, self.pbc)

    @property
    def symbols(self) -> list[str]:
        """Chemical symbols [N]."""
        return [chemical_symbols[z] for z in self.numbers]

    @property
    def labels(self) -> list[str]:
        """Which labels it has."""
        return [name for name in LABELS if getattr(self, name) is not None]

    @cached_property
    def is_isolated_atom(self) -> bool:
        """A single atom without periodic images nearer than `ISOLATION`: it sets a shift, there is nothing to fit."""
        if len(self.numbers) != 1:
            return False
        if not self.pbc.any():
            return True
        cell, _ = minkowski_reduce(self.cell, self.pbc)
        return bool(np.linalg.norm(cell[self.pbc], axis=1).min() > ISOLATION)


def read_frames(paths: str | Path | Sequence[str | Path], keys: LabelKeys | None = None) -> list[Frame]:
    """All frames of one or several files, in order; raises ValueError as described above."""
    return read_frame_sets([paths], keys)[0]


def read_frame_sets(
    sets: Sequence[str | Path | Sequence[str | Path]], keys: LabelKeys | None = None
) -> list[list[Frame]]:
    """The same for several sets of files, whose labels have the same keys throughout (`resolve_keys`)."""
    files = [[paths] if isinstance(paths, str | Path) else paths for paths in sets]
    sources = [[Source(str(path), read_atoms(path)) for path in paths] for paths in files]
    names = resolve_keys([source for group in sources for source in group], keys or LabelKeys())
    return [[frame for source in group for frame in _frames(source, names)] for group in sources]


def read_atoms(path: str | Path) -> list[ase.Atoms]:
    """The configurations of an extended-xyz file; raises ValueError if unreadable or empty."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file (looked for {path.absolute()})")
    try:
        images = ase.io.read(path, index=":", format="extxyz")
    except Exception as error:  # ASE raises many kinds, KeyError and IndexError among them
        raise ValueError(f"{path}: cannot be read as extended xyz: {_first_bad_frame(path) or error}") from error
    if not images:
        raise ValueError(f"{path}: contains no frames")
    return images if isinstance(images, list) else [images]


def frames_from_atoms(images: Iterable[ase.Atoms], source: str, keys: LabelKeys | None = None) -> list[Frame]:
    """Checked frames from ASE objects; `source` names them in messages."""
    found = Source(source, list(images))
    return _frames(found, resolve_keys([found], keys or LabelKeys()))


def _first_bad_frame(path: Path) -> str:
    """Which frame the file breaks at, and why."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return "not a text file"
    frame = 0
    while lines and lines[0].strip():
        problem = _problem_of_block(lines)
        if problem:
            return f"frame {frame} {problem}"
        lines = lines[2 + int(lines[0]) :]
        frame += 1
    frame = 0
    try:
        for _ in ase.io.iread(path, index=":", format="extxyz"):
            frame += 1
    except KeyError as error:
        return f"frame {frame}: {error} is no chemical symbol"
    except Exception as error:  # the reason why `read_atoms` came here
        return f"frame {frame}: {error}"
    return ""


def _problem_of_block(lines: list[str]) -> str:
    """What is wrong with the layout of the frame that `lines` begins with, or nothing."""
    count = lines[0].strip()
    if not count.isdecimal():
        return f"should start with a number of atoms, found {count[:40]!r}"
    rows = lines[2 : 2 + int(count)]
    if len(rows) < int(count):
        return f"is truncated: {count} atoms announced, {len(rows)} lines found"
    columns = [len(row.split()) for row in rows]
    for atom, n in enumerate(columns):
        if n != columns[0]:
            return f"has {n} columns in the line of atom {atom}, {columns[0]} in that of atom 0"
    return ""


def _frames(source: Source, names: dict[str, str]) -> list[Frame]:
    return [_frame(atoms, f"frame {k} of {source.name}", names) for k, atoms in enumerate(source.images)]


def _frame(atoms: ase.Atoms, origin: str, names: dict[str, str]) -> Frame:
    _require_finite(atoms.positions, "positions", atoms, origin)
    frame = Frame(
        numbers=_numbers(atoms, origin),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        pbc=np.array(atoms.pbc, dtype=bool),
        energy=_energy(atoms, names["energy"], origin),
        forces=_forces(atoms, names["forces"], origin),
        stress=_stress(atoms, names["stress"], origin),
        origin=origin,
    )
    if not frame.labels:
        keys = ", ".join(f"'{key}'" for key in names.values())
        raise ValueError(f"{origin}: none of {keys}; {present(atoms)}")
    return frame


def _numbers(atoms: ase.Atoms, origin: str) -> np.ndarray:
    if len(atoms) == 0:
        raise ValueError(f"{origin}: has no atoms")
    unknown = np.flatnonzero(atoms.numbers < 1)
    if unknown.size:
        raise ValueError(f"{origin}: atom {unknown[0]} has no chemical element (symbol 'X')")
    cell = atoms.cell.array
    periodic = cell[atoms.pbc]
    if not np.isfinite(cell).all() or np.linalg.matrix_rank(periodic) < len(periodic):
        raise ValueError(f"{origin}: periodic, but its lattice vectors are not: {cell.tolist()}")
    return np.array(atoms.numbers, dtype=np.int64)


def _energy(atoms: ase.Atoms, key: str, origin: str) -> float | None:
    value = find_label(atoms, key)
    if value is None:
        return None
    value = _as_floats(value, key, origin)
    if value.size != 1:
        raise ValueError(f"{origin}: '{key}' must be one number, found shape {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{origin}: '{key}' is not finite: {value.item()}")
    return float(value.item())


def _forces(atoms: ase.Atoms, key: str, origin: str) -> np.ndarray | None:
    value = find_label(atoms, key)
    if value is None:
        return None
    value = _as_floats(value, key, origin)
    if value.shape != (len(atoms), 3):
        raise ValueError(f"{origin}: '{key}' has shape {value.shape}, expected ({len(atoms)}, 3)")
    _require_finite(value, key, atoms, origin)
    return value


def _stress(atoms: ase.Atoms, key: str, origin: str) -> np.ndarray | None:
    value = find_label(atoms, key)
    # Programs write zeros, or what is left of a box of vacuum, for molecules and slabs.
    if value is None or not atoms.pbc.all():
        return None
    value = _as_floats(value, key, origin)
    if value.size == 6 and value.ndim == 1:
        value = voigt_6_to_full_3x3_stress(value)
    elif value.shape in ((9,), (3, 3)):
        value = value.reshape(3, 3)
    else:
        raise ValueError(
            f"{origin}: '{key}' has shape {value.shape}; allowed are (6,) in Voigt order "
            "xx yy zz yz xz xy, (9,) and (3, 3)"
        )
    if not np.isfinite(value).all():
        raise ValueError(f"{origin}: '{key}' is not finite: {value.tolist()}")
    largest = np.abs(value).max()
    if np.abs(value - value.T).max() > 1e-3 * largest + 1e-8:
        raise ValueError(f"{origin}: '{key}' is not symmetric: {value.tolist()}")
    return 0.5 * (value + value.T)


def _as_floats(value: object, key: str, origin: str) -> np.ndarray:
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{origin}: '{key}' is not numeric: {value!r}") from None


def _require_finite(value: np.ndarray, key: str, atoms: ase.Atoms, origin: str) -> None:
    bad = np.flatnonzero(~np.isfinite(value).all(axis=1))
    if bad.size:
        k = int(bad[0])
        symbol = atoms.get_chemical_symbols()[k]
        raise ValueError(f"{origin}: '{key}' of atom {k} ({symbol}) not finite: {value[k].tolist()}")
