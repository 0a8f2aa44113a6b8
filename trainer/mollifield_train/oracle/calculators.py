"""The reference methods: what a config may say of them, and the ASE calculators that they are."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, Literal

from ase.calculators.calculator import Calculator
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from .. import kinds
from ..clusters import Cluster, LocalConfig
from ..section import Section

_GOES_WITH = {"calculator": "ase", "method": "tblite"}
"""Keys that people look for where they are not."""


HOW_IT_IS_RUN = ("workers", "retries", "timeout", "cluster", "ladder")
"""Keys of an oracle that no label depends on."""


class OracleConfig(Section):
    """Every reference method. Subclasses in the table make `kind` a `Literal` with the name of their line;
    those that are named by an import path leave it as it is."""

    PLACES: ClassVar[tuple[str, ...]] = ()
    """Keys that say where programs and files lie, on which no number depends."""

    kind: str
    """`tblite` (GFN-xTB), `pyscf`, `espresso`, `gpaw`, `vasp`, `cp2k`, `lammps` (a classical potential), `command` (any
    program), `emt` and `lj` (for tests), or `ase` for any other calculator."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator. Each calculation runs in an empty folder of its own, so paths
    in here must be absolute."""
    workers: PositiveInt = 1
    """Calculations at a time, for each arm."""
    retries: NonNegativeInt = 2
    """Further attempts after a calculation failed; then the frame is marked as failed."""
    ladder: list[dict[str, Any]] | None = None
    """Further attempts one by one: what each changes in `arguments`, sections of it key by key. Attempts beyond take
    the last one. For what helps to converge (mixing, smearing of the start), not for what makes another method."""
    timeout: PositiveFloat = 600.0
    """Seconds after which an attempt counts as failed, of workers on this machine."""
    cluster: Cluster = Field(default_factory=LocalConfig)
    """Where the workers are: processes here (`{kind: local}`), `{kind: dask, address: tcp://head:8786}` or
    `{kind: slurm, queue: normal}` (`mollifield_train.clusters.config`, docs/cluster.md)."""

    @model_validator(mode="before")
    @classmethod
    def _of_its_kind(cls, values: Any) -> Any:
        own = cls.model_fields["kind"].default
        for key, kind in _GOES_WITH.items():
            if isinstance(values, dict) and key in values and key not in cls.model_fields:
                raise ValueError(
                    f"'{key}' means nothing for kind '{own}': '{key}' goes with kind '{kind}', and only with it "
                    "(what else a calculator takes are its 'arguments')"
                )
        return values

    @property
    def name(self) -> str:
        """What the reference method is called in messages and reports."""
        return self.kind

    def at(self, attempt: int) -> OracleConfig:
        """The settings of an attempt, counted from 1."""
        if attempt == 1 or not self.ladder:
            return self
        change = self.ladder[min(attempt - 2, len(self.ladder) - 1)]
        return self.model_copy(update={"arguments": _merged(self.arguments, change)})

    def fingerprint(self) -> str:
        """Of all that the numbers of a label depend on: the kind and 12 hexadecimal digits."""
        method = self.model_dump(mode="json", exclude={*HOW_IT_IS_RUN, *self.PLACES})
        return f"{self.kind}-{hashlib.sha256(json.dumps(method, sort_keys=True).encode()).hexdigest()[:12]}"


class TbliteConfig(OracleConfig):
    """GFN-xTB, by tblite."""

    kind: Literal["tblite"] = "tblite"
    method: str = "GFN2-xTB"
    """One of tblite's."""

    @property
    def name(self) -> str:
        return self.method


class EmtConfig(OracleConfig):
    """ASE's effective medium theory, for tests."""

    kind: Literal["emt"] = "emt"


class LennardJonesConfig(OracleConfig):
    """ASE's Lennard-Jones potential, for tests."""

    kind: Literal["lj"] = "lj"


class AnyAseConfig(OracleConfig):
    """Any calculator that follows ASE's interface."""

    kind: Literal["ase"] = "ase"
    calculator: str
    """The import path of a class, such as `ase.calculators.vasp.Vasp`."""

    @property
    def name(self) -> str:
        return self.calculator


def make_tblite(config: TbliteConfig) -> Calculator:
    """Prints nothing unless `arguments` say so."""
    return imported("tblite.ase.TBLite", {"method": config.method, "verbosity": 0} | config.arguments)


def make_emt(config: EmtConfig) -> Calculator:
    """ASE's EMT."""
    return imported("ase.calculators.emt.EMT", config.arguments)


def make_lennard_jones(config: LennardJonesConfig) -> Calculator:
    """ASE's LennardJones."""
    return imported("ase.calculators.lj.LennardJones", config.arguments)


def make_any(config: AnyAseConfig) -> Calculator:
    """Raises ValueError where there is no such module or class."""
    return imported(config.calculator, config.arguments)


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Dictionaries within dictionaries key by key."""
    merged = dict(values)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def imported(name: str, arguments: dict[str, Any]) -> Calculator:
    """A calculator by its import path. Raises ValueError where there is no such module or class."""
    try:
        calculator = kinds.imported(name)
    except ValueError as error:
        raise ValueError(f"oracle: the calculator: {error}") from error
    return calculator(**arguments)
