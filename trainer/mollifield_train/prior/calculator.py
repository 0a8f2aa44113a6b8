"""An ASE calculator as a prior."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ..data.batches import Graph
from .surface import Evaluate


def by_calculator(calculator: Calculator) -> Evaluate:
    """Energies and forces of the calculator; its failures become a ValueError that names the frame."""

    def evaluate(graph: Graph, displacement: np.ndarray) -> tuple[float, np.ndarray]:
        frame = graph.frame
        atoms = Atoms(frame.numbers, frame.positions + displacement, cell=frame.cell, pbc=frame.pbc)
        atoms.calc = calculator
        try:
            return float(atoms.get_potential_energy()), -np.asarray(atoms.get_forces(), dtype=np.float64)
        except Exception as error:  # whatever a calculator raises
            raise ValueError(f"{frame.origin}: the prior failed here or nearby: {error}") from error

    return evaluate
