"""Neighbour lists with a skin: one search for a frame and for copies of it with displaced atoms."""

from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols

from mollifield.contract import MIN_DISTANCE
from mollifield.neighbours import find_edges

from .frames import Frame


class Nearby(NamedTuple):
    """Edges of a frame out to a cutoff and a skin beyond it."""

    edge_index: np.ndarray
    """[2, E] int64."""
    edge_vectors: np.ndarray
    """[E, 3], Å."""
    skin: float
    """Å."""

    def within(self, r_max: float) -> tuple[np.ndarray, np.ndarray]:
        """Edges of the frame as it is, within `r_max`: indices [2, E'] and vectors [E', 3]."""
        kept = squares(self.edge_vectors) < r_max**2
        return self.edge_index[:, kept], self.edge_vectors[kept]

    def displaced(self, displacement: np.ndarray, r_max: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Edges within `r_max` where atoms are displaced by [N, 3] Å: indices [2, E'] and vectors [E', 3].

        None where two atoms may have come nearer to each other than the skin allows for, or are in one place.
        """
        # No two displacements differ by more than the diagonal of the box around all of them.
        if np.linalg.norm(np.ptp(displacement, axis=0)) > self.skin:
            return None
        i, j = self.edge_index
        vectors = self.edge_vectors + (displacement[j] - displacement[i])
        lengths = squares(vectors)
        if lengths.min(initial=np.inf) < MIN_DISTANCE**2:
            return None
        return self.edge_index[:, lengths < r_max**2], vectors[lengths < r_max**2]


def edges_of(frame: Frame, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges of a frame within `cutoff` (Å): indices [2, E] and vectors [E, 3].

    Raises ValueError on atoms on top of each other, and for a cell of no volume.
    """
    try:
        edges = find_edges(frame.positions, frame.cell, frame.pbc, cutoff)
    except ValueError as error:
        raise ValueError(f"{frame.origin}: {error}") from error
    return edges.edge_index, edges.edge_vectors


_MANY = len(chemical_symbols)


def shortest_of_pairs(
    numbers: np.ndarray, edge_index: np.ndarray, edge_vectors: np.ndarray
) -> dict[tuple[str, str], float]:
    """Å: the shortest edge between atoms of each two elements, by their symbols in the order of atomic numbers.

    `numbers [N]`, `edge_index [2, E]`, `edge_vectors [E, 3]` in Å.
    """
    if not edge_index.shape[1]:
        return {}
    i, j = numbers[edge_index]
    kinds, place = np.unique(np.minimum(i, j) * _MANY + np.maximum(i, j), return_inverse=True)
    least = np.full(len(kinds), np.inf)
    np.minimum.at(least, place, squares(edge_vectors))
    pairs = [(chemical_symbols[kind // _MANY], chemical_symbols[kind % _MANY]) for kind in kinds.tolist()]
    return dict(zip(pairs, np.sqrt(least).tolist(), strict=True))


def squares(vectors: np.ndarray) -> np.ndarray:
    """Of the lengths of vectors [E, 3]."""
    return np.einsum("ea,ea->e", vectors, vectors)
