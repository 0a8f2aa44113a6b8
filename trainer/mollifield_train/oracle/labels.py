"""One reference calculation."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

from . import make_calculator
from .calculators import OracleConfig


@dataclass(frozen=True)
class Origin:
    """Where a label was computed, and how."""

    settings: str
    """`OracleConfig.fingerprint` of the attempt that gave it."""
    host: str
    """Name of the machine, and the number of the process there."""
    seconds: float
    """Wall time of that attempt."""


@dataclass(frozen=True)
class Label:
    """What an oracle says about a frame: eV, `[N, 3]` eV/Å, Voigt `[6]` eV/Å^3 or None."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None = None
    origin: Origin | None = None
    """None: it came with the frames."""

    @property
    def net_force(self) -> float:
        """Length of the sum of all forces an atom, eV/Å: 0 where no field acts from outside."""
        return float(np.linalg.norm(self.forces.sum(axis=0)) / len(self.forces))


def compute_label(config: OracleConfig, atoms: Atoms, attempt: int = 1) -> Label:
    """One reference calculation, with the settings of this attempt. Raises as `label_of` does."""
    config, start = config.at(attempt), time.monotonic()
    atoms = atoms.copy()
    atoms.calc = make_calculator(config)
    label = label_of(atoms)
    return replace(
        label, origin=Origin(config.fingerprint(), f"{platform.node()}:{os.getpid()}", time.monotonic() - start)
    )


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
