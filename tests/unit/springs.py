"""A cheap reference method for tests: the springs of `fitting.labelled_water`, from another zero of energy."""

from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

ZERO = {1: 3.0, 8: -7.0}
"""eV, for each atom."""


class Springs(Calculator):
    """E = stiffness/2 Σ (d - 1)² + zeros; fails on the call of number `fails_at`."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, stiffness: float = 10.0, fails_at: int = 0) -> None:
        super().__init__()
        self.stiffness = stiffness
        self.calls_left = fails_at

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls_left -= 1
        if self.calls_left == 0:
            raise RuntimeError("no convergence")
        vectors = atoms.positions[:, None] - atoms.positions[None]
        lengths = np.linalg.norm(vectors, axis=2) + np.eye(len(atoms))
        pulls = -self.stiffness * ((lengths - 1.0) / lengths)[:, :, None] * vectors
        energy = 0.25 * self.stiffness * ((lengths - 1.0) ** 2).sum()
        self.results = {
            "energy": energy - 10.0 + sum(ZERO[number] for number in atoms.numbers.tolist()),
            "forces": pulls.sum(axis=1),
        }
