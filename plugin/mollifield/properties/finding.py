"""What a calculation of a property is, and what it finds with one potential."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ..calibration import Array

Calibrated = Literal["forces", "energy"]
"""Tables of a calibration."""


@dataclass(frozen=True)
class Quantity:
    """A number or an array that a calculation found."""

    value: Array
    unit: str
    scale: float | None = None
    """What its error bar is compared with, in the same unit; None: the largest size of the value itself."""
    calibrated_as: Calibrated = "forces"
    """Whose calibration its std gets (`samples.Samples.calibration_factors`)."""


def scalar(value: float, unit: str, scale: float | None = None) -> Quantity:
    """A number as a quantity."""
    return Quantity(np.float64(value), unit, scale)


def energy(value: float, unit: str, scale: float | None = None) -> Quantity:
    """A number that is an energy, or a difference of energies."""
    return Quantity(np.float64(value), unit, scale, "energy")


@dataclass(frozen=True)
class Finding:
    """What a calculation found with one potential."""

    quantities: dict[str, Quantity]
    visited: list[Atoms]
    """Structures that the numbers depend on; they are looked up among the training data."""
    start: list[Atoms]
    """Where the calculation for a similar potential may begin: relaxed structures, in the order of those given."""
    curves: dict[str, Array] = field(default_factory=dict)
    """What a picture shows beside the quantities."""


Calculation = Callable[[Calculator, Sequence[Atoms]], Finding]
"""A pure function of a calculator and structures. Raises `ValueError` where the potential has no such property."""
