"""Potentials of pairs of nearest neighbours, of which crystals have properties in closed form."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from mollifield import find_edges

Function = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Distances (Å) -> energies of pairs (eV), and their derivatives."""


class Pairs(Calculator):
    """The sum over all pairs nearer than `cutoff` (Å), which is to lie between two shells of neighbours."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, function: Function, cutoff: float) -> None:
        super().__init__()
        self.function, self.cutoff = function, cutoff

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        edges = find_edges(self.atoms.positions, self.atoms.cell.array, self.atoms.pbc, self.cutoff)
        lengths = np.linalg.norm(edges.edge_vectors, axis=1)
        energies, slopes = self.function(lengths)
        pulls = (slopes / lengths)[:, None] * edges.edge_vectors  # on the centre; each pair is two edges
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, edges.edge_index[0], pulls)
        self.results = {"energy": 0.5 * energies.sum(), "forces": forces}
        if self.atoms.cell.rank == 3:
            virial = 0.5 * edges.edge_vectors.T @ pulls
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / self.atoms.get_volume())


def lennard_jones(epsilon: float = 1.0, sigma: float = 1.0) -> Pairs:
    """4 ε ((σ/r)^12 - (σ/r)^6)."""

    def function(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = (sigma / r) ** 6
        return 4.0 * epsilon * (s * s - s), -24.0 * epsilon * (2.0 * s * s - s) / r

    return Pairs(function, 1.36 * sigma)


def springs(stiffness: float, length: float) -> Pairs:
    """k/2 (r - length)^2, k in eV/Å²."""
    return Pairs(lambda r: (0.5 * stiffness * (r - length) ** 2, stiffness * (r - length)), 1.2 * length)
