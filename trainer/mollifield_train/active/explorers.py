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
from mollifield_train.active.guard import sound


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
    why_unphysical: Callable[[Atoms], str | None] = sound
    """The trajectory ends at a frame for which this gives a reason, whatever the committee says of it."""


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
    """How it ended: ``complete``, ``stopped`` (above ``stop``), ``unphysical: ...`` or ``failed: ...``."""


@dataclass(frozen=True)
class Exploration:
    """What one trajectory brought home; every frame has its ``step`` in ``info``.

    Where a trajectory became unphysical, the last frame is the one that shows it.
    """

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
                end = _look(atoms, step, task, config, found)
                if end is not None:
                    return replace(found, trace=replace(trace, end=end))
                if step < config.n_steps:
                    warmed = cold + (hot - cold) * step / config.n_steps
                    dynamics.set_temperature(temperature_K=warmed)
                    dynamics.run(1)
        except ValueError as error:  # the model met a geometry that it cannot evaluate
            return replace(found, trace=replace(trace, end=f"failed: {error}"))
        return found


def _look(atoms: Atoms, step: int, task: Task, config: ExplorerConfig, found: Exploration) -> str | None:
    """Sample the uncertainty, keep frames; how the trajectory ends, if it does."""
    regular, sample = step % config.regular_every == 0, step % config.sample_every == 0
    reason = task.why_unphysical(atoms) if regular or sample else None
    if regular or reason is not None:
        found.regular.append(_snapshot(atoms, step))
    if reason is not None:
        return unphysical_end(reason, step)
    if not sample:
        return None
    calculator: Calculator = atoms.calc
    std = np.asarray(calculator.get_property("forces_std", atoms))
    largest = float(std.max())
    found.trace.step.append(step)
    found.trace.temperature.append(float(atoms.get_temperature()))
    found.trace.max_std.append(largest)
    found.trace.mean_std.append(float(std.mean()))
    if largest > task.select:
        found.uncertain.append(_snapshot(atoms, step))
    return "stopped" if task.stop is not None and largest > task.stop else None


def unphysical_end(reason: str, step: int) -> str:
    """How a trajectory ends whose frame at ``step`` is unphysical."""
    return f"unphysical: {reason}, at step {step}"


def cut_unphysical(found: Exploration, why_unphysical: Callable[[Atoms], str | None]) -> Exploration:
    """``found`` up to its first unphysical frame, for explorers that cannot look while they run."""
    by_step = {frame.info["step"]: frame for frame in found.uncertain + found.regular}
    for step in sorted(by_step):
        reason = why_unphysical(by_step[step])
        if reason is not None:
            return _cut(found, int(step), unphysical_end(reason, int(step)))
    return found


def _cut(found: Exploration, last: int, end: str) -> Exploration:
    trace = found.trace
    kept = [index for index, step in enumerate(trace.step) if step < last]
    columns = [
        [column[index] for index in kept] for column in (trace.step, trace.temperature, trace.max_std, trace.mean_std)
    ]
    uncertain, regular = (
        [frame for frame in frames if frame.info["step"] <= last] for frames in (found.uncertain, found.regular)
    )
    return Exploration(Trace(*columns, end), uncertain, regular)


def _snapshot(atoms: Atoms, step: int) -> Atoms:
    frame = Atoms(atoms.numbers, atoms.get_positions(), cell=atoms.cell, pbc=atoms.pbc)
    frame.info["step"] = step
    return frame
