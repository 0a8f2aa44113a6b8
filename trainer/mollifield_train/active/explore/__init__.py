"""Explorers: each runs a trajectory with a committee and brings home frames; it knows no store and no oracle.

Another one is a file with a config class and a function like those below, and a line in the table; or a `Kind` of a
module of your own, named by its import path (docs/howto/extend.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from ...kinds import Kinds
from ...section import Kind, Tagged
from .band import BandConfig, explore_band
from .beads import BeadsConfig, explore_beads
from .config import ExplorerConfig
from .defects import DefectsConfig, explore_defects
from .file import FileConfig, explore_file
from .lammps import LammpsConfig, explore_with_lammps
from .md import MdConfig, explore_with_ase
from .modes import ModesConfig, explore_modes
from .script import ScriptConfig, explore_by_script
from .shaken import ShakenConfig, explore_by_shaking
from .strained import StrainedConfig, explore_by_straining
from .trajectory import Exploration, Task

__all__ = ["DEFAULT_EXPLORER", "EXPLORERS", "explore"]

EXPLORERS = Kinds(
    {
        "lammps": Kind(LammpsConfig, explore_with_lammps),
        "ase": Kind(MdConfig, explore_with_ase),
        "beads": Kind(BeadsConfig, explore_beads),
        "script": Kind(ScriptConfig, explore_by_script),
        "shaken": Kind(ShakenConfig, explore_by_shaking),
        "modes": Kind(ModesConfig, explore_modes),
        "strained": Kind(StrainedConfig, explore_by_straining),
        "defects": Kind(DefectsConfig, explore_defects),
        "band": Kind(BandConfig, explore_band),
        "file": Kind(FileConfig, explore_file),
    },
    of=Kind,
)
"""By the `kind` of the config: its class, and the `trajectory.Explorer` that runs by it."""

DEFAULT_EXPLORER = "lammps"
"""Of a config without `kind`."""


def explore(task: Task, settings: ExplorerConfig) -> Exploration:
    """One trajectory by the explorer that `settings` are of; see `trajectory.Explorer`."""
    found: Exploration = EXPLORERS[settings.kind].make(task, settings)
    return found


class ByTurnsConfig(ExplorerConfig):
    """Several explorers: the first trajectory by the first one, the second by the second, and round again."""

    kind: Literal["by_turns"] = "by_turns"
    explorers: Annotated[
        list[Annotated[SerializeAsAny[ExplorerConfig], Tagged(EXPLORERS, DEFAULT_EXPLORER)]], Field(min_length=1)
    ]
    """Each with its own `kind` and keys; how many trajectories there are, and the thresholds, is said outside."""

    @property
    def first_temperature(self) -> float:
        return self.explorers[0].first_temperature

    def about(self) -> str:
        return "; ".join(filter(None, (explorer.about() for explorer in self.explorers)))


def _explore_by_turns(task: Task, settings: ByTurnsConfig) -> Exploration:
    return explore(replace(task, index=0), settings.explorers[task.index % len(settings.explorers)])


EXPLORERS["by_turns"] = Kind(ByTurnsConfig, _explore_by_turns)
