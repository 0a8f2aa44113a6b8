"""An acquisition as somebody else would add it. One file."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from mollifield_train.active.acquire.config import AcquisitionConfig
from mollifield_train.active.acquire.scene import Indices, Scene
from mollifield_train.active.store import REGULAR


class SmallestCellConfig(AcquisitionConfig):
    """The candidates with the smallest cells, below a limit."""

    kind: Literal["smallest_cell"] = "smallest_cell"
    limit: PositiveFloat
    """Å^3; larger cells are left alone."""

    DRAWS_FROM: ClassVar[frozenset[str]] = frozenset({REGULAR})
    IN_WORDS: ClassVar[str] = "with the smallest cells"


@dataclass(frozen=True)
class SmallestCell:
    """See `scene.Choose`."""

    settings: SmallestCellConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        volumes = np.array([atoms.get_volume() for atoms in scene.frames])
        order = np.argsort(volumes, kind="stable")
        return order[volumes[order] < self.settings.limit][:n]
