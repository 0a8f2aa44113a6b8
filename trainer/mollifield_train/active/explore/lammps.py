"""Exploration in LAMMPS: pair style and fix `mollifield/uncertainty` do the watching."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from mollifield_lammps import Deck, Langevin, Npt, Uncertainty, lammps_boundary, read_thermo, read_uncertain, run_lammps

from .config import DynamicsConfig
from .in_lammps import DATA, end_of, write_start
from .trajectory import MAX_STD, MEAN_STD, STEP, TEMPERATURE, Exploration, Task, Trace, cut_unphysical

_LOG, _UNCERTAIN, _REGULAR = "log.lammps", "uncertain.extxyz", "regular.extxyz"
_THERMO = {STEP: "Step", TEMPERATURE: "Temp", MAX_STD: "f_watch", MEAN_STD: "f_watch[2]"}
"""The columns of the trace in LAMMPS's words."""


class LammpsConfig(DynamicsConfig):
    """Langevin dynamics in LAMMPS, which runs beside the loop."""

    kind: Literal["lammps"] = "lammps"
    n_ranks: PositiveInt = 1
    """MPI ranks of LAMMPS."""
    pressure: tuple[float, float] | None = None
    """bar, at the start and at the end: constant pressure by Nose and Hoover, all lengths and angles free, in place of
    Langevin's thermostat at constant volume. Needs three periodic directions."""
    bias: PositiveFloat | None = None
    """tau: the dynamics is pushed towards where the committee's energies differ (keyword `bias` of the fix). A barostat
    does not feel this push."""


def explore_with_lammps(task: Task, settings: LammpsConfig) -> Exploration:
    """See `trajectory.Explorer`.

    Raises LammpsError as `in_lammps.end_of`.
    """
    species, rotation = write_start(task)
    deck = make_deck(task, settings, species).text()
    run = partial(run_lammps, deck, task.directory, n_ranks=settings.n_ranks)
    end = end_of(run, [task.directory / _UNCERTAIN])
    found = Exploration(
        _read_trace(task.directory / _LOG, end),
        read_uncertain(task.directory / _UNCERTAIN, rotation),
        read_uncertain(task.directory / _REGULAR, rotation),
    )
    # LAMMPS knows nothing of fragments: what it ran beyond the first unphysical frame is thrown away.
    return cut_unphysical(found, task.why_unphysical)


def make_deck(task: Task, settings: LammpsConfig, species: list[str]) -> Deck:
    """The run. A second fix has a threshold of zero, so it keeps frames at regular intervals whatever their
    uncertainty, in the same format.
    """
    return Deck(
        model=task.model.resolve(),
        species=species,
        boundary=lammps_boundary(task.start),
        dynamics=_dynamics(settings),
        n_steps=settings.n_steps,
        data=DATA,
        timestep=settings.timestep,
        skin=0.5,
        initial_temperature=settings.temperature[0],
        seed=task.seed,
        thermo_every=settings.sample_every,
        thermo=["step", "temp", "pe", "f_watch", "f_watch[2]", "f_watch[4]", "f_watch[5]"],
        uncertainty=[
            Uncertainty(
                name="watch",
                every=settings.sample_every,
                file=_UNCERTAIN,
                select=task.select,
                stop=task.stop,
                bias=settings.bias,
            ),
            Uncertainty(name="keep", every=settings.regular_every, file=_REGULAR, select=0.0),
        ],
    )


def _dynamics(settings: LammpsConfig) -> Langevin | Npt:
    if settings.pressure is None:
        return Langevin(settings.temperature, settings.damping)
    return Npt(settings.temperature, settings.damping, settings.pressure, coupling="tri")


def _read_trace(log: Path, end: str) -> Trace:
    thermo = read_thermo(log.read_text(encoding="utf-8", errors="replace"))
    columns = {name: [float(x) for x in thermo.get(theirs, [])] for name, theirs in _THERMO.items()}
    return Trace(columns | {STEP: [int(x) for x in columns[STEP]]}, end)
