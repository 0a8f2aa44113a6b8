"""A molecule with one bond pulled apart: what dynamics hardly visits, and a model must know to hold together."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.sparse.csgraph import connected_components

BONDED = 1.3
"""Times the sum of covalent radii."""
LONGEST = 3.0
"""Times the bond's length."""


def pulled(atoms: Atoms, rng: np.random.Generator) -> Atoms | None:
    """A copy with a random bond between 1.2 and `LONGEST` times as long; None for a molecule without bonds.

    The smaller part of the molecule moves along the bond as it is; of a ring, which has no parts, the bond's second
    atom alone.
    """
    radii = covalent_radii[atoms.numbers]
    distances = atoms.get_all_distances()
    bonded = (distances < BONDED * (radii[:, None] + radii)) & ~np.eye(len(atoms), dtype=bool)
    bonds = np.argwhere(np.triu(bonded))
    if not len(bonds):
        return None
    first, second = rng.permutation(bonds[rng.integers(len(bonds))])
    bonded[first, second] = bonded[second, first] = False
    _, part = connected_components(bonded, directed=False)
    if part[first] == part[second]:
        moved = np.arange(len(atoms)) == second
    else:
        if np.sum(part == part[second]) > len(atoms) / 2:
            first, second = second, first
        moved = part == part[second]
    along = atoms.positions[second] - atoms.positions[first]
    other = atoms.copy()
    other.positions[moved] += (rng.uniform(1.2, LONGEST) - 1.0) * along
    return other
