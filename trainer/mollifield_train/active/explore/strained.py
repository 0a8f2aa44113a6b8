"""Random strains of a crystal: volume and shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from .config import ExplorerConfig
from .judged import Looked, judged, rattled
from .trajectory import Exploration, Task


class StrainedConfig(ExplorerConfig):
    """Cells compressed, stretched and sheared, atoms with them."""

    kind: Literal["strained"] = "strained"
    n_frames: PositiveInt = 20
    """Frames of a trajectory."""
    volume: tuple[PositiveFloat, PositiveFloat] = (0.9, 1.15)
    """Over that of the start, in the first and in the last frame."""
    shear: Annotated[float, Field(ge=0.0)] = 0.05
    """Largest entry of a random symmetric strain on top, which leaves the volume to first order."""
    width: Annotated[float, Field(ge=0.0)] = 0.02
    """Å, std of a coordinate's random displacement."""

    def about(self) -> str:
        return f"volumes go from {self.volume[0]:g} to {self.volume[1]:g} of the start's"


def explore_by_straining(task: Task, settings: StrainedConfig) -> Exploration:
    """See `trajectory.Explorer`. Raises ValueError for a start that is not periodic in all directions."""
    if not task.start.pbc.all():
        raise ValueError(
            f"explorer strained: a start with pbc = {task.start.pbc.tolist()}; allowed: three periodic directions"
        )
    return judged(_strained(task, settings), task, ("volume",))


def _strained(task: Task, settings: StrainedConfig) -> Iterator[Looked]:
    rng = np.random.default_rng(task.seed)
    for volume in np.linspace(*settings.volume, settings.n_frames):
        strain = rng.uniform(-settings.shear, settings.shear, size=(3, 3))
        strain = (strain + strain.T) / 2
        strain -= np.trace(strain) / 3 * np.eye(3)
        atoms = task.start.copy()
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        factor = (volume * task.start.get_volume() / atoms.get_volume()) ** (1 / 3)
        atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
        yield rattled(atoms, settings.width, rng), {"volume": float(volume)}
