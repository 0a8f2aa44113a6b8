"""What explorers that run LAMMPS share: the start as its data file, and how a run ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mollifield_lammps import LammpsError, RunResult, write_data

from .trajectory import Task

DATA = "start.data"
"""In the folder of a task."""


def write_start(task: Task) -> tuple[list[str], NDArray[np.float64]]:
    """Write `DATA`; the elements of its atom types, and the rotation into LAMMPS' frame."""
    species = [chemical_symbols[number] for number in sorted(set(task.start.numbers))]
    task.directory.mkdir(parents=True, exist_ok=True)
    return species, write_data(task.directory / DATA, task.start, species)


def end_of(run: Callable[[], RunResult], frames: Sequence[Path]) -> str:
    """Run LAMMPS; how the trajectory ended, in the words of `Trace.end`.

    An error (atoms lost, say) is not one of the loop: what is in the files of `frames` by then counts. Raises
    LammpsError where these are not there: it never started, which is a mistake.
    """
    try:
        return "stopped" if run().stopped else "complete"
    except LammpsError as error:
        if not all(path.exists() for path in frames):
            raise
        return f"failed: {error}"
