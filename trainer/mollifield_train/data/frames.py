"""Labelled frames, from files of any kind or from ASE's objects.

Every problem is a ValueError that names file, frame, key and atom; frames and atoms count from 0.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import ase
import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from ase.geometry.minkowski_reduction import minkowski_reduce

from ..progress import counted
from .content import content_key
from .files import find_files, iterate_atoms
from .keys import LabelKeys, Presence, presence, resolve_keys
from .labels import forces_mask_of, labels_of, require_finite
from .origins import PLAIN, Origin, origin_of, require_files
from .summary import Summary

ISOLATION = 8.0
"""Å. An atom whose periodic images are all farther away is a free atom in a box, not a crystal."""


LABELS = ("energy", "forces", "stress")
CONFIG_TYPE = "config_type"
"""Key of the group of a frame."""
LONGEST_TAG = 100
"""Characters of a text that tells frames apart; longer ones are comments."""


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
    weight: float = 1.0
    """Weight in the loss."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Words and whole numbers that the file says of it, by their keys: what it may be grouped by."""
    forces_mask: np.ndarray | None = None
    """[N] bool: the atoms whose forces count, in losses, errors and calibrations; None: all."""

    @property
    def labelled_atoms(self) -> np.ndarray:
        """[n] int64: the atoms whose forces count, where there are forces."""
        return np.arange(self.n_atoms) if self.forces_mask is None else np.flatnonzero(self.forces_mask)

    @classmethod
    def unlabelled(cls, atoms: ase.Atoms, origin: str) -> "Frame":
        """The geometry of ASE's, unchecked."""
        numbers, pbc = np.array(atoms.numbers, dtype=np.int64), np.array(atoms.pbc)
        return cls(numbers, np.array(atoms.positions), np.array(atoms.cell.array), pbc, None, None, None, origin)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @cached_property
    def composition(self) -> Mapping[str, int]:
        """As in `Summary`, like what follows."""
        numbers, counts = np.unique(self.numbers, return_counts=True)
        return {chemical_symbols[z]: n for z, n in zip(numbers.tolist(), counts.tolist(), strict=True)}

    @property
    def arrangement(self) -> bytes:
        """The same for the same atoms in the same order, periodic in the same directions."""
        return hashlib.blake2b(self.numbers.tobytes() + self.pbc.tobytes(), digest_size=8).digest()

    @property
    def volume(self) -> float | None:
        """Å^3; None unless all three directions are periodic."""
        return abs(float(np.linalg.det(self.cell))) if self.pbc.all() else None

    @property
    def mean_square_force(self) -> float | None:
        """(eV/Å)^2, over components."""
        return None if self.forces is None else float(np.mean(self.forces[self.labelled_atoms] ** 2))

    @property
    def largest_force(self) -> float | None:
        """eV/Å: length of the longest force."""
        return None if self.forces is None else float(np.linalg.norm(self.forces[self.labelled_atoms], axis=1).max())

    @property
    def is_stress_zero(self) -> bool:
        """Whether it has a stress, of exactly zero."""
        return self.stress is not None and not self.stress.any()

    def loaded(self) -> "Frame":
        """It is."""
        return self

    @cached_property
    def content(self) -> str:
        """The key of its geometry (`data.content`)."""
        return content_key(self.numbers, self.positions, self.cell, self.pbc)

    @property
    def config_type(self) -> str:
        """The group that it belongs to; empty where nobody says."""
        return self.tags.get(CONFIG_TYPE, "")

    @property
    def file(self) -> str:
        """The file that it came from."""
        return self.origin.partition(" of ")[2]

    @property
    def number(self) -> int:
        """Which one of the file, from 0."""
        return int(self.origin.split()[1])

    @cached_property
    def formula(self) -> str:
        """'C2H6O', as Hill has it."""
        return str(Formula.from_dict(dict(self.composition)).format("hill"))

    def group(self, by: str) -> str:
        """What it is of: 'file', 'composition', or a key of its tags; '-' where it has no such tag."""
        if by == "file":
            return self.file
        return self.formula if by == "composition" else self.tags.get(by) or "-"

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


@dataclass(frozen=True)
class Reading:
    """How files are read: the names of labels, what is said about origins, and weights."""

    keys: LabelKeys = field(default_factory=LabelKeys)
    origins: Sequence[Origin] = ()
    weight_key: str | None = "config_weight"
    """Key of a frame's own weight."""
    group_weights: Mapping[str, float] = field(default_factory=dict)
    """Weights of groups, by their config_type."""
    all_origins: bool = True
    """Whether an origin that no file is of is an error."""


@dataclass(frozen=True)
class _Read:
    """A file's configurations, and what is said about it."""

    name: str
    images: Sequence[ase.Atoms]
    origin: Origin

    def presence(self, common: LabelKeys) -> Presence:
        """Of its labels."""
        return presence(self.name, self.images, self.origin.keys(common))


Refused = Callable[[str], None]
"""Told of a file or a frame that cannot be used."""


def read_frames(
    paths: str | Path | Sequence[str | Path], reading: Reading | None = None, progress: bool = True
) -> list[Frame]:
    """All frames of files and patterns, in order; raises ValueError as described above."""
    return read_frame_sets([paths], reading, progress)[0]


def read_frame_sets(
    sets: Sequence[str | Path | Sequence[str | Path]],
    reading: Reading | None = None,
    progress: bool = True,
    refused: Refused | None = None,
) -> list[list[Frame]]:
    """The same for several sets of files, whose labels have the same keys throughout (`resolve_keys`).

    With `refused`, files and frames that cannot be used are left out, and it is told why.
    """
    reading = reading or Reading()
    files = [find_files(paths) for paths in sets]
    if reading.all_origins:
        require_files(reading.origins, [path for paths in files for path in paths])
    sources = [_read_files(paths, reading, progress, refused) for paths in files]
    read = [source for group in sources for source in group]
    names = label_names([(source.origin, source.presence(reading.keys)) for source in read], reading.keys)
    frames = [[_frames(source, names[source.name], reading, refused) for source in group] for group in sources]
    found = [[frame for source in group for frame in source] for group in frames]
    require_groups(reading.group_weights, [frame for group in found for frame in group])
    return found


def frames_from_atoms(images: Iterable[ase.Atoms], source: str, keys: LabelKeys | None = None) -> list[Frame]:
    """Checked frames from ASE objects; `source` names them in messages."""
    found, keys = _Read(source, list(images), PLAIN), keys or LabelKeys()
    return _frames(found, resolve_keys([found.presence(keys)], keys), Reading(keys))


def _read_files(paths: Sequence[Path], reading: Reading, progress: bool, refused: Refused | None) -> list[_Read]:
    found = []
    for path in paths:
        origin = origin_of(path, reading.origins)
        try:
            images = list(counted(iterate_atoms(path, origin), f"reading {path.name}", shown=progress))
        except ValueError as error:
            _refuse(refused, error)
            continue
        found.append(_Read(str(path), images, origin))
    return found


def label_names(sources: Sequence[tuple[Origin, Presence]], common: LabelKeys) -> dict[str, dict[str, str]]:
    """Names of the labels in each file; files of which the same is said are judged together.

    Raises ValueError as `resolve_keys`.
    """
    alike: dict[LabelKeys, list[Presence]] = defaultdict(list)
    for origin, found in sources:
        alike[origin.keys(common)].append(found)
    return {
        source.name: names for keys, group in alike.items() for names in [resolve_keys(group, keys)] for source in group
    }


def require_groups(weights: Mapping[str, float], frames: Iterable[Summary]) -> None:
    """Raises ValueError for a group with a weight that no frame is of."""
    present = {frame.config_type for frame in frames}
    for group in weights:
        if group not in present:
            raise ValueError(
                f"data.config_type_weights: no frame has config_type '{group}'; present: "
                f"{', '.join(sorted(present - {''})) or 'none'}"
            )


def _frames(source: _Read, names: Mapping[str, str], reading: Reading, refused: Refused | None = None) -> list[Frame]:
    found = []
    for k, atoms in enumerate(source.images):
        try:
            found.append(read_frame(atoms, f"frame {k} of {source.name}", names, source.origin, reading))
        except ValueError as error:
            _refuse(refused, error)
    return found


def _refuse(refused: Refused | None, error: ValueError) -> None:
    if refused is None:
        raise error
    refused(str(error))


def read_frame(atoms: ase.Atoms, where: str, names: Mapping[str, str], origin: Origin, reading: Reading) -> Frame:
    """A checked frame; `where` names it, `names` are those of its labels. Raises ValueError."""
    require_finite(atoms.positions, "positions", atoms, where)
    tags, labels = _tags(atoms, origin), labels_of(atoms, names, origin, where)
    return Frame(
        numbers=_numbers(atoms, where),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        pbc=np.array(atoms.pbc, dtype=bool),
        energy=labels.energy,
        forces=labels.forces,
        stress=labels.stress,
        origin=where,
        weight=_weight(atoms, where, reading)
        * origin.weight
        * reading.group_weights.get(tags.get(CONFIG_TYPE, ""), 1.0),
        tags=tags,
        forces_mask=forces_mask_of(atoms, where),
    )


def _tags(atoms: ase.Atoms, origin: Origin) -> dict[str, str]:
    tags = {} if origin.config_type is None else {CONFIG_TYPE: origin.config_type}
    words = {str(key): str(value) for key, value in atoms.info.items() if isinstance(value, str | int | np.integer)}
    return tags | {key: value for key, value in words.items() if len(value) <= LONGEST_TAG}


def _weight(atoms: ase.Atoms, where: str, reading: Reading) -> float:
    value = None if reading.weight_key is None else atoms.info.get(reading.weight_key)
    if value is None:
        return 1.0
    if not isinstance(value, int | float | np.number) or not np.isfinite(value) or value < 0.0:
        raise ValueError(f"{where}: '{reading.weight_key}' must be a number of at least 0, found {value}")
    return float(value)


def _numbers(atoms: ase.Atoms, where: str) -> np.ndarray:
    if len(atoms) == 0:
        raise ValueError(f"{where}: has no atoms")
    unknown = np.flatnonzero(atoms.numbers < 1)
    if unknown.size:
        raise ValueError(f"{where}: atom {unknown[0]} has no chemical element (symbol 'X')")
    cell = atoms.cell.array
    periodic = cell[atoms.pbc]
    # NumPy up to 2.2, the last one of Python 3.10, knows no rank of an empty matrix.
    if not np.isfinite(cell).all() or (len(periodic) and np.linalg.matrix_rank(periodic) < len(periodic)):
        raise ValueError(f"{where}: periodic, but its lattice vectors are not: {cell.tolist()}")
    return np.array(atoms.numbers, dtype=np.int64)
