"""Reference calculations: from a frame to its label.

`calculators` knows which method, `programs` those that are programs of their own, `labels` one calculation, `dynamics`
many in a row, `execution` asks `clusters` for workers. Another calculator is a config class with a function that makes
it, and a line in the table; or a `Kind` of a module of your own, named by its import path (docs/howto/extend.md).
"""

from typing import Annotated

from ase.calculators.calculator import Calculator
from pydantic import SerializeAsAny

from ..kinds import Kinds
from ..section import Kind, Tagged
from .calculators import (
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
from .programs import (
    CommandConfig,
    Cp2kConfig,
    EspressoConfig,
    GpawConfig,
    LammpsOracleConfig,
    PyscfConfig,
    VaspConfig,
    make_command,
    make_espresso,
    make_lammps,
    make_program,
    make_pyscf,
)

__all__ = ["CALCULATORS", "DEFAULT_CALCULATOR", "Oracle", "make_calculator"]

CALCULATORS = Kinds(
    {
        "tblite": Kind(TbliteConfig, make_tblite),
        "pyscf": Kind(PyscfConfig, make_pyscf),
        "espresso": Kind(EspressoConfig, make_espresso),
        "gpaw": Kind(GpawConfig, make_program),
        "vasp": Kind(VaspConfig, make_program),
        "cp2k": Kind(Cp2kConfig, make_program),
        "lammps": Kind(LammpsOracleConfig, make_lammps),
        "command": Kind(CommandConfig, make_command),
        "emt": Kind(EmtConfig, make_emt),
        "lj": Kind(LennardJonesConfig, make_lennard_jones),
        "ase": Kind(AnyAseConfig, make_any),
    },
    of=Kind,
)
"""By the `kind` of the config: its class, and what makes an ASE calculator of it."""

DEFAULT_CALCULATOR = "tblite"
"""Of a config without `kind`."""

Oracle = Annotated[SerializeAsAny[OracleConfig], Tagged(CALCULATORS, DEFAULT_CALCULATOR)]
"""In a config: one of the table, by its `kind`."""


def make_calculator(config: OracleConfig) -> Calculator:
    """Build the ASE calculator that a config names.

    Raises ValueError: no such module or class.
    """
    return CALCULATORS[config.kind].make(config)
