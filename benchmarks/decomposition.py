"""What a rank sends under `halo exchange`, from the decomposition alone: for more ranks than there are here.

LAMMPS cuts an orthogonal box into bricks. A rank meets those who own an atom within cutoff and skin of its brick, when
the neighbour list is made. In a force computation it asks each of them for the atoms that an edge of its own leads to
(an index each), gives and receives their features before each layer after the first, and gives and receives their
gradients on the way back. A test compares this with the counts of real ranks.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mollifield import find_edges

INDEX_BYTES = 4
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:
    """Of one rank in one force computation that finds the neighbour list as it was."""

    n_met: int
    rows_given: int
    rows_received: int
    messages: int
    bytes: int


@dataclass(frozen=True)
class Exchange:
    """Of a model: `row_bytes` of features of an atom in each layer after the first; gradients of so many seeds."""

    row_bytes: tuple[int, ...]
    n_seeds: int = 1


def owners(positions: Array, box: Array, grid: tuple[int, int, int]) -> NDArray[np.int64]:
    """`positions [N, 3]` within a periodic `box [3]` -> the rank of each, in LAMMPS's order of the bricks."""
    numbers = np.array(grid)
    place = np.minimum((positions / box * numbers).astype(np.int64), numbers - 1)
    return (place[:, 0] * numbers[1] + place[:, 1]) * numbers[2] + place[:, 2]


def traffic_of(
    rank: int, positions: Array, box: Array, grid: tuple[int, int, int], r_max: float, skin: float, exchange: Exchange
) -> Traffic:
    """What `rank` sends; positions are wrapped into the box."""
    size = box / np.array(grid)
    low = np.array(np.unravel_index(rank, grid)) * size
    reach = r_max + skin
    owner = owners(positions, box, grid)
    atoms, places = _within(positions, box, low - reach, low + size + reach)
    met = np.unique(owner[atoms])
    met = met[met != rank]

    is_mine = (owner[atoms] == rank) & ((places >= low) & (places < low + size)).all(axis=1)
    i, j = find_edges(places, np.zeros((3, 3)), [False] * 3, r_max).edge_index
    crossing = is_mine[i] & (owner[atoms[j]] != rank)
    received = np.unique(atoms[j[crossing]])
    given = np.unique(np.stack([atoms[i[crossing]], owner[atoms[j[crossing]]]]), axis=1)
    n_givers, n_takers = len(np.unique(owner[received])), len(np.unique(given[1]))
    rows_given, rows_received = given.shape[1], len(received)

    n_bytes = INDEX_BYTES * rows_received
    for width in exchange.row_bytes:
        n_bytes += width * (rows_given + exchange.n_seeds * rows_received)
    messages = len(met) + len(exchange.row_bytes) * (n_takers + n_givers)
    return Traffic(len(met), rows_given, rows_received, messages, n_bytes)


def _within(positions: Array, box: Array, low: Array, high: Array) -> tuple[NDArray[np.int64], Array]:
    """Atoms and images of atoms from `low` to `high`: which atom each is, and where."""
    found = []
    first, last = np.floor(low / box).astype(int), np.ceil(high / box).astype(int)
    for image in product(*(range(a, b) for a, b in zip(first, last, strict=True))):
        moved = positions + np.array(image) * box
        inside = np.flatnonzero(((moved >= low) & (moved < high)).all(axis=1))
        found.append((inside, moved[inside]))
    return np.concatenate([atoms for atoms, _ in found]), np.concatenate([places for _, places in found])
