"""Random displacements of a start, from small to large."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from .config import ExplorerConfig
from .judged import judged, rattled
from .trajectory import Exploration, Task


class ShakenConfig(ExplorerConfig):
    """Every coordinate displaced at random."""

    kind: Literal["shaken"] = "shaken"
    n_frames: PositiveInt = 20
    """Frames of a trajectory."""
    width: tuple[PositiveFloat, PositiveFloat] = (0.02, 0.2)
    """Å, std of a coordinate's displacement in the first and in the last frame."""

    def about(self) -> str:
        return f"coordinates are displaced by {self.width[0]:g} to {self.width[1]:g} Å"


def explore_by_shaking(task: Task, settings: ShakenConfig) -> Exploration:
    """See `trajectory.Explorer`."""
    rng = np.random.default_rng(task.seed)
    widths = np.linspace(*settings.width, settings.n_frames)
    return judged(((rattled(task.start, w, rng), {"width": float(w)}) for w in widths), task, ("width",))
