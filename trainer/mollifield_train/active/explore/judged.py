"""Frames that no dynamics made: each is looked at by the committee, one by one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms

from .trajectory import MAX_STD, MEAN_STD, STEP, Exploration, Task, Trace, snapshot

Looked = tuple[Atoms, dict[str, float]]
"""A frame, and what the trace says of it beside step and std."""


def judged(frames: Iterable[Looked], task: Task, columns: Iterable[str] = ()) -> Exploration:
    """All frames as regular ones, and those above `task.select`.

    One that is unphysical, or that the model cannot evaluate, is among the regular ones, so that it is counted with its
    reason; it ends nothing, because the next one does not come from it.
    """
    from mollifield import MollifieldCalculator  # torch takes seconds, which reading a config has no use for

    calculator = MollifieldCalculator(task.model, device=task.device)
    found = Exploration(Trace.of((STEP, *columns, MAX_STD, MEAN_STD)), [], [])
    for step, (atoms, values) in enumerate(frames):
        frame = snapshot(atoms, step)
        found.regular.append(frame)
        if task.why_unphysical(frame) is not None:
            continue
        std = np.asarray(calculator.get_property("forces_std", frame))
        found.trace.add({STEP: step, **values, MAX_STD: float(std.max()), MEAN_STD: float(std.mean())})
        if std.max() > task.select:
            found.uncertain.append(snapshot(atoms, step))
    return found


def rattled(atoms: Atoms, width: float, rng: np.random.Generator) -> Atoms:
    """A copy, each coordinate displaced by a normal number of std `width` (Å)."""
    moved = atoms.get_positions() + rng.normal(scale=width, size=(len(atoms), 3))
    return Atoms(atoms.numbers, moved, cell=atoms.cell, pbc=atoms.pbc)
