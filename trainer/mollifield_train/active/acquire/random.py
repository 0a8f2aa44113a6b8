"""A draw among frames saved at regular intervals: what other acquisitions are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..store import REGULAR
from .config import AcquisitionConfig
from .scene import Indices, Scene


class RandomConfig(AcquisitionConfig):
    """As many labels, drawn from regularly saved frames."""

    kind: Literal["random"] = "random"

    DRAWS_FROM: ClassVar[frozenset[str]] = frozenset({REGULAR})
    IN_WORDS: ClassVar[str] = "drawn at random"


@dataclass(frozen=True)
class Random:
    """See `scene.Choose`."""

    settings: RandomConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        return random_choice(len(scene), n, rng)


def random_choice(n_frames: int, n_batch: int, rng: np.random.Generator) -> Indices:
    """`n_batch` different indices below `n_frames` (all of them if there are fewer), sorted."""
    size = min(n_batch, n_frames)
    return np.sort(rng.choice(n_frames, size=size, replace=False)).astype(np.int64)
