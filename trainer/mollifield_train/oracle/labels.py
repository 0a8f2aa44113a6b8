"""One reference calculation."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

from . import make_calculator
from .calculators import OracleConfig


@dataclass(frozen=True)
class Label:
    """What an oracle says about a frame: eV, `[N, 3]` eV/Å, Voigt `[6]` eV/Å^3 or None."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None = None


def compute_label(config: OracleConfig, atoms: Atoms) -> Label:
    """One reference calculation. Raises as `label_of` does."""
    atoms = atoms.copy()
    atoms.calc = make_calculator(config)
    return label_of(atoms)


def label_of(atoms: Atoms) -> Label:
    """What the calculator of `atoms` says about them.

    Raises ValueError: it returned something that is not finite. Raises Exception: whatever the calculator raises.
    """
    energy, forces = float(atoms.get_potential_energy()), np.array(atoms.get_forces())
    stress = stress_of(atoms)
    numbers = [energy, *forces.ravel(), *(stress if stress is not None else [])]
    if not np.isfinite(numbers).all():
        raise ValueError("the oracle returned numbers that are not finite")
    return Label(energy, forces, stress)


def stress_of(atoms: Atoms) -> NDArray[np.float64] | None:
    """The stress by the calculator of `atoms`, if it has one and all directions are periodic: Voigt [6], eV/Å^3."""
    if atoms.pbc.all():
        with contextlib.suppress(PropertyNotImplementedError):
            return np.array(atoms.get_stress())
    return None
