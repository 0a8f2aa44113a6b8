"""Neighbour lists with a skin: one search for a frame and for copies of it with displaced atoms."""

from typing import NamedTuple

import numpy as np

from mollifield.contract import MIN_DISTANCE


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
        kept = _squares(self.edge_vectors) < r_max**2
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
        squares = _squares(vectors)
        if squares.min(initial=np.inf) < MIN_DISTANCE**2:
            return None
        return self.edge_index[:, squares < r_max**2], vectors[squares < r_max**2]


def _squares(vectors: np.ndarray) -> np.ndarray:
    return np.einsum("ea,ea->e", vectors, vectors)
