"""Path-integral dynamics in LAMMPS: geometries that only quantum nuclei visit."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import PositiveFloat, PositiveInt, model_validator

from mollifield_lammps import Deck, PathIntegral, Uncertainty, lammps_boundary, read_uncertain, run_lammps

from .config import ExplorerConfig
from .in_lammps import DATA, end_of, write_start
from .judged import judged
from .trajectory import Exploration, Task, cut_unphysical

_FRAMES = "beads.extxyz"


class BeadsConfig(ExplorerConfig):
    """fix pimd/langevin at constant temperature, a process for each bead; all beads are looked at."""

    kind: Literal["beads"] = "beads"
    n_beads: PositiveInt = 8
    """Of a ring."""
    temperature: PositiveFloat = 300.0
    """K."""
    n_steps: PositiveInt = 2000
    """Steps of a trajectory."""
    timestep: PositiveFloat = 0.5
    """fs."""
    damping: PositiveFloat = 100.0
    """fs, relaxation time of the ring's centre."""
    regular_every: PositiveInt = 50
    """Steps between looks."""

    @property
    def first_temperature(self) -> float:
        return self.temperature

    def about(self) -> str:
        return f"rings of {self.n_beads} beads at {self.temperature:g} K"

    @model_validator(mode="after")
    def _is_a_ring(self) -> BeadsConfig:
        if self.n_beads < 2:
            raise ValueError("'n_beads' is 1; a ring takes 2 or more")
        if self.regular_every > self.n_steps:
            raise ValueError(f"'regular_every' ({self.regular_every}) is longer than the run ({self.n_steps})")
        return self


def explore_beads(task: Task, settings: BeadsConfig) -> Exploration:
    """See `trajectory.Explorer`. Raises LammpsError where LAMMPS never came to a frame."""
    species, rotation = write_start(task)
    deck = Deck(
        model=task.model.resolve(),
        species=species,
        boundary=lammps_boundary(task.start),
        dynamics=PathIntegral(settings.temperature, settings.damping),
        n_steps=settings.n_steps,
        data=DATA,
        timestep=settings.timestep,
        initial_temperature=settings.temperature,
        seed=task.seed,
        uncertainty=Uncertainty(every=settings.regular_every, file=_FRAMES, select=0.0),
    )
    files = [task.directory / f"beads.{bead}.extxyz" for bead in range(settings.n_beads)]
    end = end_of(partial(run_lammps, deck.text(), task.directory, n_partitions=settings.n_beads), files)
    rings = [read_uncertain(file, rotation) for file in files]
    # All beads of a moment, then the next moment.
    frames = (
        (frame, {"bead": float(bead), "lammps_step": float(frame.info["step"])})
        for beads in zip(*rings, strict=False)
        for bead, frame in enumerate(beads)
    )
    found = judged(frames, task, ("bead", "lammps_step"))
    return cut_unphysical(found.ended(end), task.why_unphysical)
