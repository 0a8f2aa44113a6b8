"""An explorer: each frame has one atom moved."""

import numpy as np
from pydantic import PositiveFloat

from mollifield_train.active.explore.config import ExplorerConfig
from mollifield_train.active.explore.judged import judged
from mollifield_train.section import Kind


class OneAtomConfig(ExplorerConfig):
    width: PositiveFloat = 0.2  # Å


def explore(task, settings):
    def frames(rng):
        for atom in range(len(task.start)):
            moved = task.start.copy()
            moved.positions[atom] += rng.normal(scale=settings.width, size=3)
            yield moved, {"atom": atom}

    return judged(frames(np.random.default_rng(task.seed)), task, ["atom"])


ONE_ATOM = Kind(OneAtomConfig, explore)
