"""Molecular dynamics in ASE."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ...oracle.dynamics import langevin, thermalised
from .config import DynamicsConfig
from .trajectory import MAX_STD, MEAN_STD, STEP, TEMPERATURE, Exploration, Task, Trace, snapshot, unphysical_end


class MdConfig(DynamicsConfig):
    """Langevin dynamics in this process, by ASE."""

    kind: Literal["ase"] = "ase"


def explore_with_ase(task: Task, settings: MdConfig) -> Exploration:
    """See `trajectory.Explorer`."""
    from mollifield import MollifieldCalculator  # torch takes seconds, which reading a config has no use for

    rng = np.random.default_rng(task.seed)
    cold, hot = settings.temperature
    atoms = thermalised(task.start, cold, rng)
    atoms.calc = MollifieldCalculator(task.model, device=task.device)
    dynamics = langevin(atoms, cold, settings.timestep, settings.damping, rng)
    found = Exploration(Trace.of((STEP, TEMPERATURE, MAX_STD, MEAN_STD)), [], [])
    try:
        for step in range(settings.n_steps + 1):
            end = _look(atoms, step, task, settings, found)
            if end is not None:
                return found.ended(end)
            if step < settings.n_steps:
                warmed = cold + (hot - cold) * step / settings.n_steps
                dynamics.set_temperature(temperature_K=warmed)
                dynamics.run(1)
    except ValueError as error:  # the model met a geometry that it cannot evaluate
        return found.ended(f"failed: {error}")
    return found


def _look(atoms: Atoms, step: int, task: Task, settings: MdConfig, found: Exploration) -> str | None:
    """Sample the uncertainty, keep frames; how the trajectory ends, if it does."""
    regular, sample = step % settings.regular_every == 0, step % settings.sample_every == 0
    reason = task.why_unphysical(atoms) if regular or sample else None
    if regular or reason is not None:
        found.regular.append(snapshot(atoms, step))
    if reason is not None:
        return unphysical_end(reason, step)
    if not sample:
        return None
    calculator: Calculator = atoms.calc
    std = np.asarray(calculator.get_property("forces_std", atoms))
    largest = float(std.max())
    row = {STEP: step, TEMPERATURE: float(atoms.get_temperature()), MAX_STD: largest, MEAN_STD: float(std.mean())}
    found.trace.add(row)
    if largest > task.select:
        found.uncertain.append(snapshot(atoms, step))
    return "stopped" if task.stop is not None and largest > task.stop else None
