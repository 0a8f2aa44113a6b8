"""From atoms to edges; vesin does the search."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vesin import NeighborList

from .contract import MIN_DISTANCE


class Edges(NamedTuple):
    """A full neighbour list: both (i, j) and (j, i), and every periodic image within `r_max`."""

    edge_index: NDArray[np.int64]
    """[2, E]; row 0 the centre i, row 1 the neighbour j; sorted by i, then j."""
    edge_vectors: NDArray[np.float64]
    """[E, 3], r_j - r_i + shift @ cell, Å."""
    shifts: NDArray[np.int32]
    """[E, 3], whole lattice vectors added to r_j."""


def find_edges(positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, r_max: float) -> Edges:
    """All pairs nearer than `r_max` (Å) of `positions [N, 3]` in `cell [3, 3]` (rows), `pbc [3]`.

    Any mix of periodic directions; cells may be smaller than `r_max`. A direction that isn't
    periodic needs no lattice vector (zeros are fine).

    Raises `ValueError` for positions or cells that are not finite, for a periodic direction without
    a lattice vector, and for two atoms nearer than `contract.MIN_DISTANCE`, naming them.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    cell = np.array(cell, dtype=np.float64)
    pbc = np.asarray(pbc, dtype=bool)
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if bad.size:
        raise ValueError(f"atom {bad[0]}: position {positions[bad[0]]} is not finite")
    if not np.isfinite(cell).all():
        raise ValueError(f"cell {cell.tolist()} is not finite")
    box = _box(cell, pbc)
    if len(positions) == 0:
        empty = np.zeros((0, 3))
        return Edges(np.zeros((2, 0), dtype=np.int64), empty, empty.astype(np.int32))
    search = NeighborList(cutoff=float(r_max), full_list=True, sorted=True)
    i, j, vectors, shifts = search.compute(points=positions, box=box, periodic=pbc.tolist(), quantities="ijDS")
    lengths = np.linalg.norm(vectors, axis=1)
    if lengths.size and lengths.min() < MIN_DISTANCE:
        k = int(lengths.argmin())
        raise ValueError(f"atoms {i[k]} and {j[k]} are {lengths[k]:.3g} Å apart; allowed is {MIN_DISTANCE} Å or more")
    return Edges(np.stack([i, j]).astype(np.int64), np.asarray(vectors), np.asarray(shifts, dtype=np.int32))


def _box(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The cell with unit vectors in place of missing lattice vectors of open directions."""
    for axis in range(3):
        if not cell[axis].any():
            if pbc[axis]:
                raise ValueError(f"direction {axis} is periodic but its lattice vector is zero")
            filled = [k for k in range(3) if cell[k].any()]
            basis = np.linalg.svd(np.vstack([cell[filled], np.zeros((1, 3))]))[2]
            cell[axis] = basis[len(filled)]
    if abs(np.linalg.det(cell)) < 1e-12 * np.prod(np.linalg.norm(cell, axis=1)):
        raise ValueError(f"cell {cell.tolist()} has no volume")
    return cell
