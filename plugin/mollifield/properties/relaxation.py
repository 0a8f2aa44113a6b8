"""Relaxed structures: ASE's optimisers, with an error where they do not arrive."""

from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

N_STEPS = 500

What = Literal["ions", "shape", "cell"]
"""Ions in a fixed cell; with the cell's shape, at a fixed volume; with the whole cell."""


def relaxed(calculator: Calculator, atoms: Atoms, fmax: float, what: What = "ions", n_steps: int = N_STEPS) -> Atoms:
    """A copy of `atoms` with `calculator`, relaxed until no force (eV/Å; of a cell filter's too) is above `fmax`.

    Constraints are kept. Raises `ValueError` where that takes more than `n_steps`, or where atoms are all apart.
    """
    found = atoms.copy()
    found.calc = calculator
    target: Any = found if what == "ions" else FrechetCellFilter(found, constant_volume=what == "shape")
    with BFGS(target, logfile=None) as optimiser:
        arrived = optimiser.run(fmax=fmax, steps=n_steps)
    if not arrived:
        force = float(np.linalg.norm(target.get_forces(), axis=1).max())
        raise ValueError(f"{atoms.get_chemical_formula()}: not relaxed in {n_steps} steps: a force is {force:.3g} eV/Å")
    return found
