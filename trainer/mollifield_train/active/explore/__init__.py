"""Explorers: each runs a trajectory with a committee and brings home frames; it knows no store and no oracle.

Another one is a file with a config class and a function like those below, and a line in the table.
"""

from __future__ import annotations

from ...section import Kind
from .config import ExplorerConfig
from .lammps import LammpsConfig, explore_with_lammps
from .md import MdConfig, explore_with_ase
from .trajectory import Exploration, Task

__all__ = ["DEFAULT_EXPLORER", "EXPLORERS", "explore"]

EXPLORERS: dict[str, Kind] = {
    "lammps": Kind(LammpsConfig, explore_with_lammps),
    "ase": Kind(MdConfig, explore_with_ase),
}
"""By the `kind` of the config: its class, and the `trajectory.Explorer` that runs by it."""

DEFAULT_EXPLORER = "lammps"
"""Of a config without `kind`."""


def explore(task: Task, settings: ExplorerConfig) -> Exploration:
    """One trajectory by the explorer that `settings` are of; see `trajectory.Explorer`."""
    found: Exploration = EXPLORERS[settings.kind].make(task, settings)
    return found
