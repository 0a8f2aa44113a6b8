"""Geometries that end a trajectory and that no oracle should see: fused atoms, molecules in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.geometry import complete_cell
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .config import GuardConfig


class Pairs(NamedTuple):
    """Pairs of atoms near each other, both ways, periodic images included; P of them."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.float64]
    """Å."""
    covalent: NDArray[np.float64]
    """Sum of the covalent radii, Å."""


class Guard:
    """Says why a frame is unphysical, measured by the frames that a run starts from.

    Nothing here asks a model: one that does not know a geometry is often sure of it. Fragments count
    against those of starting frames with the same atoms and periodicity, so that molecules that
    belong apart may stay apart.
    """

    def __init__(self, config: GuardConfig, frames: Sequence[Atoms]) -> None:
        self._config = config
        self._limits = _nearest_allowed(config, frames)
        self._allowed: dict[tuple[object, ...], tuple[int, int]] = {}
        for atoms in frames:
            pairs = self._pairs(atoms)
            counts = len(self._bonded(atoms, pairs)), len(self._gathered(atoms, pairs))
            before = self._allowed.get(_kind(atoms), (0, 0))
            self._allowed[_kind(atoms)] = max(before[0], counts[0]), max(before[1], counts[1])

    def __call__(self, atoms: Atoms) -> str | None:
        """The reason why `atoms` is unphysical, with the atoms' numbers, or None if it is not."""
        if not np.isfinite(atoms.get_positions()).all() or not np.isfinite(atoms.cell.array).all():
            return "positions or cell are not finite"
        pairs = self._pairs(atoms)
        return self._why_fused(atoms, pairs) or self._why_torn(atoms, pairs)

    def _pairs(self, atoms: Atoms) -> Pairs:
        bonds = 2 * self._config.bond_factor * covalent_radii[atoms.numbers].max()
        return find_pairs(atoms, max(bonds, self._config.max_gap, *self._limits.values()))

    def _why_fused(self, atoms: Atoms, pairs: Pairs) -> str | None:
        numbers = np.sort([atoms.numbers[pairs.first], atoms.numbers[pairs.second]], axis=0).T
        allowed = np.array([self._limits.get((int(a), int(b)), self._config.min_distance) for a, b in numbers])
        excess = pairs.distance - allowed
        if not len(excess) or excess.min() >= 0.0:
            return None
        worst = int(np.argmin(excess))
        return (
            f"{_name(atoms, pairs.first[worst])} and {_name(atoms, pairs.second[worst])} are "
            f"{pairs.distance[worst]:.3f} Å apart, nearer than {allowed[worst]:.3f} Å"
        )

    def _why_torn(self, atoms: Atoms, pairs: Pairs) -> str | None:
        config = self._config
        if _kind(atoms) not in self._allowed:
            return None
        bonded_before, gathered_before = self._allowed[_kind(atoms)]
        rule = f"more than {config.max_gap:g} Å apart"
        checks = [(self._gathered(atoms, pairs), gathered_before, rule)]
        if config.bonds is True or (config.bonds == "auto" and not atoms.pbc.any()):
            rule = f"without a bond shorter than {config.bond_factor:g} times the covalent radii"
            checks.insert(0, (self._bonded(atoms, pairs), bonded_before, rule))
        for groups, before, rule in checks:
            if len(groups) > before:
                smallest = min(groups, key=len)
                return (
                    f"{len(groups)} fragments {rule}, the starting frames have {before}; "
                    f"{_name(atoms, smallest[0])} is in one of {len(smallest)}"
                )
        return None

    def _bonded(self, atoms: Atoms, pairs: Pairs) -> list[NDArray[np.int64]]:
        near = pairs.distance < self._config.bond_factor * pairs.covalent
        return fragments(len(atoms), pairs, near)

    def _gathered(self, atoms: Atoms, pairs: Pairs) -> list[NDArray[np.int64]]:
        # Atoms of large radii (Cs) are farther apart in their crystals than the gap is wide.
        reach = np.maximum(self._config.max_gap, self._config.bond_factor * pairs.covalent)
        return fragments(len(atoms), pairs, pairs.distance < reach)


def find_pairs(atoms: Atoms, cutoff: float) -> Pairs:
    """All pairs nearer than `cutoff` (Å)."""
    from vesin import NeighborList  # imports torch where there is one, which the test set's process does not need

    search = NeighborList(cutoff=float(cutoff), full_list=True)
    first, second, distance = search.compute(
        points=atoms.get_positions(), box=complete_cell(atoms.cell.array), periodic=atoms.pbc.tolist(), quantities="ijd"
    )
    first, second = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    radii = covalent_radii[atoms.numbers]
    return Pairs(first, second, np.asarray(distance), radii[first] + radii[second])


def fragments(n_atoms: int, pairs: Pairs, near: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Indices of the atoms of each group that the pairs which are `near` connect."""
    edges = pairs.first[near], pairs.second[near]
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(n_atoms, n_atoms))
    n_groups, group = connected_components(graph, directed=False)
    return [np.flatnonzero(group == k) for k in range(n_groups)]


def _nearest_allowed(config: GuardConfig, frames: Sequence[Atoms]) -> dict[tuple[int, int], float]:
    """Å for each pair of atomic numbers, the smaller first.

    The nearest pair seen counts, but never more than the sum of the covalent radii: two atoms that were
    far apart in all starting frames may form a bond.
    """
    species = sorted({int(number) for atoms in frames for number in atoms.numbers})
    nearest = {
        (a, b): float(covalent_radii[a] + covalent_radii[b]) for a, b in combinations_with_replacement(species, 2)
    }
    longest = max(nearest.values(), default=0.0)
    for atoms in frames:
        pairs = find_pairs(atoms, longest)
        numbers = np.sort([atoms.numbers[pairs.first], atoms.numbers[pairs.second]], axis=0).T
        for (a, b), distance in zip(numbers.tolist(), pairs.distance.tolist(), strict=True):
            nearest[a, b] = min(nearest[a, b], distance)
    return {pair: max(config.min_distance, config.fused * distance) for pair, distance in nearest.items()}


def _kind(atoms: Atoms) -> tuple[object, ...]:
    """What frames share whose fragments are compared: their atoms and their periodicity."""
    return tuple(sorted(atoms.numbers.tolist())), tuple(atoms.pbc.tolist())


def _name(atoms: Atoms, index: int) -> str:
    return f"atom {index} ({chemical_symbols[atoms.numbers[index]]})"
