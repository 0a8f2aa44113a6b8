"""The most uncertain frames, thinned to those that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from .config import AcquisitionConfig
from .descriptors import Averaged
from .farthest_points import spread
from .most_uncertain import above_first, most_uncertain
from .scene import Indices, Scene


class UncertainThenDiverseConfig(AcquisitionConfig):
    """The most uncertain of the frames above the threshold, spread over the latent space; then others by their std."""

    kind: Literal["uncertain_then_diverse"] = "uncertain_then_diverse"
    descriptor: Averaged = "species_mean"
    """How latent features are averaged over the atoms of a frame."""
    pool_factor: Annotated[float, Field(ge=1)] = 3.0
    """Keeps this many times `batch` frames before it diversifies."""


@dataclass(frozen=True)
class UncertainThenDiverse:
    """See `scene.Choose`.

    Uncertainty alone picks neighbours in time that teach the same thing; diversity alone picks
    frames the model knows.
    """

    settings: UncertainThenDiverseConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        averaged = self.settings.descriptor

        def spread_over(above: Indices) -> Indices:
            pool = above[most_uncertain(scene.std[above], max(n, round(self.settings.pool_factor * n)))]
            return pool[spread(scene.descriptors(pool, averaged), n, scene.known_descriptors(averaged))]

        return above_first(scene, n, spread_over)
