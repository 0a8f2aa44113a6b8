"""Frames that no oracle should see: overlapping atoms and molecules in pieces."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def count_fragments(atoms: Atoms, max_gap: float) -> int:
    """Number of groups of atoms that are farther than ``max_gap`` (Å) from every other group."""
    centres, neighbours = neighbor_list("ij", atoms, max_gap)
    graph = coo_array((np.ones(len(centres)), (centres, neighbours)), shape=(len(atoms),) * 2)
    return int(connected_components(graph, directed=False, return_labels=False))


def why_unphysical(
    atoms: Atoms, min_distance: float, max_gap: float, max_fragments: int
) -> str | None:
    """Say why a frame must not be labelled, or return None if it may.

    Args:
        atoms: the frame.
        min_distance: Å; any pair nearer than this is an overlap.
        max_gap: Å; atoms farther apart than this belong to different fragments.
        max_fragments: how many fragments the starting frames have.
    """
    if not np.isfinite(atoms.get_positions()).all() or not np.isfinite(atoms.cell.array).all():
        return "positions or cell are not finite"
    centres, neighbours, distances = neighbor_list("ijd", atoms, min_distance)
    if len(distances):
        nearest = int(np.argmin(distances))
        return (
            f"atoms {centres[nearest]} and {neighbours[nearest]} are {distances[nearest]:.3f} Å "
            f"apart, nearer than {min_distance} Å"
        )
    n_fragments = count_fragments(atoms, max_gap)
    if n_fragments > max_fragments:
        return (
            f"{n_fragments} fragments more than {max_gap} Å apart, "
            f"the starting frames have {max_fragments}"
        )
    return None
