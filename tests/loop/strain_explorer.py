"""An explorer as somebody else would add it: no dynamics, the cell is stretched step by step. One file."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from mollifield_train.active.explore.config import ExplorerConfig
from mollifield_train.active.explore.trajectory import STEP, Exploration, Task, Trace, snapshot


class StrainConfig(ExplorerConfig):
    """Stretches a crystal along all three axes."""

    kind: Literal["strain"] = "strain"
    n_steps: PositiveInt = 5
    """Frames."""
    strain: PositiveFloat = 0.01
    """Of one step."""


def explore_by_strain(task: Task, settings: StrainConfig) -> Exploration:
    """See `trajectory.Explorer`."""
    trace = Trace.of((STEP, "strain"))
    frames = []
    for step in range(1, settings.n_steps + 1):
        atoms = task.start.copy()
        atoms.set_cell(atoms.cell * (1.0 + step * settings.strain), scale_atoms=True)
        atoms.rattle(0.01, seed=task.seed + step)
        frames.append(snapshot(atoms, step))
        trace.add({STEP: step, "strain": step * settings.strain})
    return Exploration(trace, [], frames)
