"""LAMMPS side of mollifield: find the plugin, write data files and decks, run them, read frames back, check it all.

Names are loaded when first used: the `lmp` launcher imports this package at every start of every rank
for the plugin's directory alone.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "find_plugin": "locate",
    "lammps_command": "locate",
    "plugin_directory": "locate",
    "Deck": "deck",
    "Langevin": "deck",
    "Minimise": "deck",
    "Npt": "deck",
    "PathIntegral": "deck",
    "Nve": "deck",
    "Nvt": "deck",
    "Uncertainty": "deck",
    "lammps_boundary": "data",
    "place_atoms": "data",
    "read_dump": "dump",
    "read_uncertain": "data",
    "write_data": "data",
    "LammpsError": "run",
    "RunResult": "run",
    "run_lammps": "run",
    "ThermoBar": "thermo",
    "read_thermo": "thermo",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
