"""What an explorer is, and the one that runs in ASE.

An explorer runs dynamics with a committee and brings home frames; it knows no store and no oracle.
``explore_lammps`` is the other one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mollifield_train.active.config import ExplorerConfig
from mollifield_train.active.dynamics import langevin, thermalised


@dataclass(frozen=True)
class Task:
    """One trajectory to run."""

    model: Path
    """Exported committee."""
    start: Atoms
    directory: Path
    """Empty folder for the explorer's own files."""
    seed: int
    select: float
    """Frames whose largest force std is above this are uncertain, eV/Å."""
    stop: float | None
    """The trajectory ends above this, eV/Å."""


@dataclass(frozen=True)
class Trace:
    """The uncertainty along a trajectory, one entry a sample (T of them)."""

    step: list[int]
    temperature: list[float]
    """K."""
    max_std: list[float]
    """Largest force std of an atom, eV/Å."""
    mean_std: list[float]
    """Mean force std over atoms, eV/Å."""
    end: str
    """How it ended: ``complete``, ``stopped`` (above ``stop``), or ``failed: ...``."""


@dataclass(frozen=True)
class Exploration:
    """What one trajectory brought home; every frame has its ``step`` in ``info``."""

    trace: Trace
    uncertain: list[Atoms]
    """Frames above ``select``."""
    regular: list[Atoms]
    """Frames at regular intervals, whatever their uncertainty."""


class Explorer(Protocol):
    """Runs one trajectory; the same task gives the same trajectory."""

    def __call__(self, task: Task, config: ExplorerConfig) -> Exploration: ...


@dataclass(frozen=True)
class AseExplorer:
    """Langevin dynamics in ASE; ``calculator`` is called with the path of the model."""

    calculator: Callable[[Path], Calculator]

    def __call__(self, task: Task, config: ExplorerConfig) -> Exploration:
        """See ``Explorer``. The calculator must offer ``forces_std`` (eV/Å, ``[N]``)."""
        rng = np.random.default_rng(task.seed)
        cold, hot = config.temperature
        atoms = thermalised(task.start, cold, rng)
        atoms.calc = self.calculator(task.model)
        dynamics = langevin(atoms, cold, config.timestep, config.damping, rng)
        trace = Trace([], [], [], [], end="complete")
        found = Exploration(trace, [], [])
        try:
            for step in range(config.n_steps + 1):
                if _look(atoms, step, task, config, found):
                    return replace(found, trace=replace(trace, end="stopped"))
                if step < config.n_steps:
                    warmed = cold + (hot - cold) * step / config.n_steps
                    dynamics.set_temperature(temperature_K=warmed)
                    dynamics.run(1)
        except ValueError as error:  # the model met a geometry that it cannot evaluate
            return replace(found, trace=replace(trace, end=f"failed: {error}"))
        return found


def _look(atoms: Atoms, step: int, task: Task, config: ExplorerConfig, found: Exploration) -> bool:
    """Sample the uncertainty, keep frames; whether the trajectory has to stop."""
    if step % config.regular_every == 0:
        found.regular.append(_snapshot(atoms, step))
    if step % config.sample_every != 0:
        return False
    calculator: Calculator = atoms.calc
    std = np.asarray(calculator.get_property("forces_std", atoms))
    largest = float(std.max())
    found.trace.step.append(step)
    found.trace.temperature.append(float(atoms.get_temperature()))
    found.trace.max_std.append(largest)
    found.trace.mean_std.append(float(std.mean()))
    if largest > task.select:
        found.uncertain.append(_snapshot(atoms, step))
    return task.stop is not None and largest > task.stop


def _snapshot(atoms: Atoms, step: int) -> Atoms:
    frame = Atoms(atoms.numbers, atoms.get_positions(), cell=atoms.cell, pbc=atoms.pbc)
    frame.info["step"] = step
    return frame
