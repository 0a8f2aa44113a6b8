"""Whether two frames are the same geometry, whatever rounding, periodic images or rigid motion did to it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell, find_mic
from numpy.typing import NDArray

TOLERANCE = 1e-4
"""Å. Files and LAMMPS keep positions to about 1e-8; neighbours in time differ by a hundred times more than this."""
_APART = 10
"""Tolerances by which a length of two equal geometries may differ: both ends move, and lattice vectors between them."""


def same_geometry(first: Atoms, second: Atoms, tolerance: float = TOLERANCE) -> bool:
    """Whether two frames have the same atoms, in the same order, at the same places to `tolerance` (Å).

    Places are the same where a label is: after a rigid motion (of a system without periodic directions: a
    mirror image too), a translation of a periodic one, whole lattice vectors added to any atom, and another
    choice of the same lattice's vectors.
    """
    if _kind(first) != _kind(second):
        return False
    if not first.pbc.any():
        return _same_distances(first.get_positions(), second.get_positions(), tolerance)
    return _same_lattice(first, second, tolerance) and _same_crystal(first, second, tolerance)


class Geometries:
    """Frames that are known, to compare new ones with."""

    def __init__(self, frames: Iterable[tuple[str, Atoms]] = ()) -> None:
        """`frames`: what each frame is called, and the frame."""
        self._known: dict[tuple[object, ...], list[tuple[str, Atoms, NDArray[np.float64]]]] = {}
        for name, atoms in frames:
            self.add(name, atoms)

    def add(self, name: str, atoms: Atoms) -> None:
        """Know one more frame."""
        self._known.setdefault(_kind(atoms), []).append((name, atoms, _invariants(atoms)))

    def find(self, atoms: Atoms) -> str | None:
        """The name of the first known frame with the same geometry, if there is one."""
        known = self._known.get(_kind(atoms), [])
        if not known:
            return None
        # Most frames differ in these few numbers, which are compared at once.
        deviations = np.abs(np.array([row[2] for row in known]) - _invariants(atoms))
        for index in np.flatnonzero(deviations.max(axis=1) < _APART * TOLERANCE):
            name, other, _ = known[index]
            if same_geometry(atoms, other):
                return name
        return None


def _kind(atoms: Atoms) -> tuple[object, ...]:
    return tuple(atoms.numbers.tolist()), tuple(atoms.pbc.tolist())


def _invariants(atoms: Atoms, n_most: int = 8) -> NDArray[np.float64]:
    """[n] lengths in Å that are equal for equal geometries: from the first atom to the next ones, or to the nearest
    images of these; the side of a cube of the cell's volume before them."""
    positions = atoms.get_positions()[: n_most + 1]
    between = positions - positions[0]
    if not atoms.pbc.any():
        return np.linalg.norm(between, axis=1)
    volume = abs(np.linalg.det(complete_cell(atoms.cell.array))) if atoms.pbc.all() else 0.0
    return np.append(volume ** (1 / 3), find_mic(between, atoms.cell, atoms.pbc)[1])


def _same_distances(first: NDArray[np.float64], second: NDArray[np.float64], tolerance: float) -> bool:
    def distances(positions: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.linalg.norm(positions[:, None] - positions[None], axis=-1)

    return bool(np.abs(distances(first) - distances(second)).max() < tolerance)


def _same_lattice(first: Atoms, second: Atoms, tolerance: float) -> bool:
    """Whether the periodic vectors of the two span the same lattice."""
    ours, theirs = first.cell.array[first.pbc], second.cell.array[second.pbc]
    steps = np.round(theirs @ np.linalg.pinv(ours))
    if abs(round(abs(np.linalg.det(steps)))) != 1:
        return False
    return bool(np.abs(steps @ ours - theirs).max() < tolerance)


def _same_crystal(first: Atoms, second: Atoms, tolerance: float) -> bool:
    """Whether all atoms moved alike, but for whole lattice vectors."""
    vectors = first.cell.array[first.pbc]
    moved = second.get_positions() - first.get_positions()
    moved = moved - moved[0]
    moved -= np.round(moved @ np.linalg.pinv(vectors)) @ vectors
    return bool(np.abs(moved - np.median(moved, axis=0)).max() < tolerance)
