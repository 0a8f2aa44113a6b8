"""A name for a geometry: the same for the same geometry, however often it was written and read."""

import hashlib

import numpy as np

FILE_DECIMALS = 8
"""Decimals of an extended-xyz file, to which numbers are rounded first: a frame keeps its key when it is written."""
DECIMALS = 6
WRAP_MARGIN = 1e-4
"""Fraction of a lattice vector by which an atom may lie outside of the cell before it is wrapped: atoms of crystals
lie on the faces of their cells, on either side of them by rounding."""


def content_key(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> str:
    """Hash of species [N], positions [N, 3] and cell [3, 3] (to 1e-6 Å) and periodicity [3].

    Periodic images of an atom are the same atom. The order of atoms counts, and so do translations and rotations.
    """
    digest = hashlib.sha256()
    digest.update(np.asarray(numbers, dtype="<i4").tobytes())
    for lengths in (_wrapped(positions, cell, pbc), cell):
        # Adding 0.0 turns -0.0 into 0.0.
        rounded = np.round(np.round(lengths, FILE_DECIMALS), DECIMALS) + 0.0
        digest.update(rounded.astype("<f8").tobytes())
    digest.update(np.asarray(pbc, dtype="u1").tobytes())
    return "k" + digest.hexdigest()[:24]  # the letter keeps ase.db from reading a number


def _wrapped(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Positions moved into the cell along its periodic vectors."""
    periodic = np.asarray(pbc, dtype=bool)
    vectors = np.asarray(cell, dtype=float)[periodic]
    if not len(vectors):
        return np.asarray(positions, dtype=float)
    fractions = positions @ np.linalg.pinv(vectors)
    return positions - np.floor(fractions + WRAP_MARGIN) @ vectors
