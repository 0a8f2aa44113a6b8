"""Frames that are too large for the oracle, cut to the surroundings of their most uncertain atom.

A crystal becomes a smaller supercell of itself, defects and displacements about the atom included: a periodic frame
like any other, all of whose labels count. Where that cannot be, what is within `radius` becomes a cluster in vacuum
with a buffer around it. Forces on the buffer's atoms are those of a surface that is not there, and so is the energy:
only the forces within `radius` count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from numpy.typing import NDArray

from ..data.labels import FORCES_MASK
from .config import CutConfig
from .guard import find_pairs, fragments

PERIODIC, CLUSTER = "periodic", "cluster"
SITE = 0.35
"""Over the shortest distance of two atoms: atoms of different cells that are nearer than this when they are brought
into one cell are on one site."""
ON_SITES = 0.8
"""Part of the atoms of a crystal, at least, whose sites are occupied in all cells."""

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Divisors = tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """What is labelled in place of a frame."""

    atoms: Atoms
    """With `FORCES_MASK` among its arrays where it is a cluster. The uncertain atom is the first."""
    kind: str
    """`PERIODIC` or `CLUSTER`."""
    warning: str = ""


def cut_out(atoms: Atoms, centre: int, settings: CutConfig, why_unphysical: Callable[[Atoms], str | None]) -> Cut:
    """The surroundings of atom `centre` of a frame with more than `settings.max_atoms` atoms."""
    for divisors in _divisors(atoms, settings):
        smaller = _smaller_cell(atoms, centre, divisors)
        if smaller is None or why_unphysical(smaller) is not None:
            continue
        if _same_surroundings(atoms, centre, smaller, settings.radius):
            return Cut(smaller, PERIODIC)
    return _cluster(atoms, centre, settings)


def _divisors(atoms: Atoms, settings: CutConfig) -> list[Divisors]:
    """Into how many cells the periodic directions may be divided, the least flat of the cells first, then the largest.

    Seen from any atom, a cell has `radius` on all sides.
    """
    cell = complete_cell(atoms.cell.array)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    most = np.where(atoms.pbc, np.maximum(heights // (2.0 * settings.radius), 1), 1).astype(int)
    ranges = [range(1, int(k) + 1) for k in most]
    found = [n for n in product(*ranges) if len(atoms) <= settings.max_atoms * int(np.prod(n))]

    def least_flat(n: Divisors) -> tuple[float, int]:
        return -round(float((heights / n)[atoms.pbc].min()), 6), int(np.prod(n))

    return sorted(found, key=least_flat)


def _smaller_cell(atoms: Atoms, centre: int, divisors: Divisors) -> Atoms | None:
    """One of the cells, that about `centre`, with the atoms that are there; None where the cells are not alike."""
    n_cells = int(np.prod(divisors))
    vectors = _vectors_from(atoms, centre)
    cell = complete_cell(atoms.cell.array) / np.array(divisors)[:, None]
    folded = Atoms(atoms.numbers, vectors, cell=cell, pbc=atoms.pbc)
    shortest = _shortest_distance(atoms)
    pairs = find_pairs(folded, SITE * shortest)
    sites = fragments(len(atoms), pairs, pairs.distance < SITE * shortest)
    full = [site for site in sites if len(site) == n_cells]
    alike = all(len(set(atoms.numbers[site])) == 1 for site in sites)
    if not alike or max(map(len, sites)) > n_cells or sum(map(len, full)) < ON_SITES * len(atoms):
        return None
    images = np.array(list(product(*((-1, 0, 1) if periodic else (0,) for periodic in atoms.pbc)))) @ cell
    kept = []
    for site in sites:
        # Where the site is: about any of its atoms, folded to it.
        around = _nearest(vectors[site] - vectors[site[0]], cell, atoms.pbc)
        place = _nearest((vectors[site[0]] + around.mean(axis=0))[None], cell, atoms.pbc)
        nearest = int(site[np.linalg.norm(vectors[site], axis=1).argmin()])
        expected = np.linalg.norm(place + images, axis=1).min()
        if np.linalg.norm(vectors[nearest]) < expected + SITE * shortest:  # else the site is empty here
            kept.append(nearest)
    kept.sort(key=lambda index: (index != centre, index))
    if kept[0] != centre:
        return None
    lattice = atoms.cell.array / np.array(divisors)[:, None]
    return Atoms(atoms.numbers[kept], vectors[kept], cell=lattice, pbc=atoms.pbc)


def _vectors_from(atoms: Atoms, centre: int) -> Array:
    """`[N, 3]` Å: from an atom to the image of each that is nearest but for the skew of the cell."""
    cell = complete_cell(atoms.cell.array)
    vectors = atoms.get_positions() - atoms.positions[centre]
    return _nearest(vectors, cell, atoms.pbc)


def _nearest(vectors: Array, cell: Array, pbc: NDArray[np.bool_]) -> Array:
    """Each less whole lattice vectors: coordinates along the periodic ones from -1/2 to 1/2."""
    fractions = vectors @ np.linalg.inv(cell)
    # Half a cell to either side is one site: which one must not be a matter of rounding.
    fractions[:, pbc] -= np.round(fractions[:, pbc] - 1e-6)
    return np.asarray(fractions @ cell)


def _shortest_distance(atoms: Atoms) -> float:
    cutoff = 3.0
    while not len(distances := find_pairs(atoms, cutoff).distance):
        cutoff *= 2.0
    return float(distances.min())


def _surroundings(atoms: Atoms, centre: int, radius: float) -> tuple[Indices, Array]:
    """Atoms within `radius` (Å) of one, images too, and the vectors to them; itself, then the nearest first."""
    cell = complete_cell(atoms.cell.array)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = np.where(atoms.pbc, np.ceil(radius / heights), 0).astype(int)
    shifts = np.array(list(product(*(range(-k, k + 1) for k in reach))))
    vectors = _vectors_from(atoms, centre)[None] + (shifts @ cell)[:, None]
    distances = np.linalg.norm(vectors, axis=2)
    image, index = np.nonzero(distances <= radius)
    order = np.lexsort((index, np.round(distances[image, index], 8)))
    return index[order], vectors[image, index][order]


def _same_surroundings(atoms: Atoms, centre: int, smaller: Atoms, radius: float) -> bool:
    """Whether the first atom of `smaller` sees within `radius` what `centre` sees."""
    before, after = _surroundings(atoms, centre, radius), _surroundings(smaller, 0, radius)
    if len(before[0]) != len(after[0]):
        return False
    rows = [
        np.column_stack([frame.numbers[indices], np.round(vectors, 5)])
        for frame, (indices, vectors) in ((atoms, before), (smaller, after))
    ]
    first, second = (found[np.lexsort(found.T)] for found in rows)
    return bool(np.allclose(first, second, atol=1e-4))


def _cluster(atoms: Atoms, centre: int, settings: CutConfig) -> Cut:
    indices, vectors = _surroundings(atoms, centre, settings.radius + settings.buffer)
    distances = np.linalg.norm(vectors, axis=1)
    trusted, warning = settings.radius, ""
    if len(indices) > settings.max_atoms:
        trusted = float(max(distances[settings.max_atoms] - settings.buffer, 0.0))
        warning = (
            f"{len(indices)} atoms are within radius and buffer, of which {settings.max_atoms} are kept: forces count "
            f"within {trusted:.2f} Å"
        )
        if distances[settings.max_atoms] < settings.buffer:
            warning += f", and the buffer ends at {distances[settings.max_atoms]:.2f} Å"
    kept = slice(None, settings.max_atoms)
    cluster = Atoms(atoms.numbers[indices[kept]], vectors[kept])
    cluster.center(vacuum=settings.vacuum)  # some calculators take no molecule without a box
    cluster.set_array(FORCES_MASK, distances[kept] <= trusted)
    if atoms.pbc.any():
        warning = "; ".join(filter(None, ["no smaller periodic frame has the same surroundings", warning]))
    return Cut(cluster, CLUSTER, warning)
