"""Reference methods by name: config classes, and the ASE calculators that they are.

The oracle of the loop is one, and so are priors of the loss. Another calculator is a config class with a function that
makes it, and a line in the table.
"""

from __future__ import annotations

from ase.calculators.calculator import Calculator

from ..section import Kind
from .kinds import (
    AnyAseConfig,
    EmtConfig,
    LennardJonesConfig,
    OracleConfig,
    TbliteConfig,
    make_any,
    make_emt,
    make_lennard_jones,
    make_tblite,
)

__all__ = ["CALCULATORS", "DEFAULT_CALCULATOR", "make_calculator"]

CALCULATORS: dict[str, Kind] = {
    "tblite": Kind(TbliteConfig, make_tblite),
    "emt": Kind(EmtConfig, make_emt),
    "lj": Kind(LennardJonesConfig, make_lennard_jones),
    "ase": Kind(AnyAseConfig, make_any),
}
"""By the `kind` of the config: its class, and what makes an ASE calculator of it."""

DEFAULT_CALCULATOR = "tblite"
"""Of a config without `kind`."""


def make_calculator(config: OracleConfig) -> Calculator:
    """Build the ASE calculator that a config names.

    Raises ValueError: no such module or class.
    """
    return CALCULATORS[config.kind].make(config)
