"""A LAMMPS input of one's own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt

from mollifield_lammps import read_uncertain, run_lammps

from .config import ExplorerConfig
from .in_lammps import DATA, end_of, write_start
from .judged import judged
from .trajectory import Exploration, Task, cut_unphysical

VARIABLES = ("potential", "data", "elements", "seed", "select")
_FRAMES = "frames.extxyz"


class ScriptConfig(ExplorerConfig):
    """A LAMMPS input with these variables in it: ${potential}, the model file; ${data}, the start for `read_data`;
    ${elements} of its atom types; ${seed}; ${select}, the threshold in eV/Å.

    Its fix mollifield/uncertainty writes `frames.extxyz`, for example
    `fix watch all mollifield/uncertainty 10 file frames.extxyz select 0.0`."""

    kind: Literal["script"] = "script"
    input: Path
    """The script; units metal."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Further ones."""
    n_ranks: PositiveInt = 1
    """MPI ranks of LAMMPS."""

    def about(self) -> str:
        return f"LAMMPS runs {self.input.name}"


def explore_by_script(task: Task, settings: ScriptConfig) -> Exploration:
    """See `trajectory.Explorer`. Raises ValueError: there is no such script, it does not use the potential, or wrote no
    frames; LammpsError: it never came to a frame."""
    if not settings.input.exists():
        raise ValueError(f"explorer script: {settings.input} does not exist")
    text = settings.input.read_text(encoding="utf-8")
    if "${potential}" not in text:
        raise ValueError(f"explorer script: {settings.input} has no ${{potential}} in it; variables: {VARIABLES}")
    species, rotation = write_start(task)
    values = {"potential": task.model.resolve(), "data": DATA, "elements": " ".join(species), "seed": task.seed}
    variables = settings.variables | values | {"select": task.select}
    run = partial(run_lammps, settings.input, task.directory, settings.n_ranks, variables)
    end = end_of(run, [task.directory / _FRAMES])
    if not (task.directory / _FRAMES).exists():
        raise ValueError(f"explorer script: {settings.input} wrote no {_FRAMES}; its fix must: file {_FRAMES}")
    frames = read_uncertain(task.directory / _FRAMES, rotation)
    found = judged(((frame, {"lammps_step": float(frame.info["step"])}) for frame in frames), task, ("lammps_step",))
    return cut_unphysical(found.ended(end), task.why_unphysical)
