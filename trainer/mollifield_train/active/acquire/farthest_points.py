"""Frames that are spread over the committee's latent space, away from what is labelled."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ... import farthest_points
from .config import AcquisitionConfig
from .descriptors import Averaged
from .most_uncertain import above_first
from .scene import Indices, Scene


class FarthestPointsConfig(AcquisitionConfig):
    """Frames above the threshold, spread over the latent space; then the most uncertain others."""

    kind: Literal["farthest_points"] = "farthest_points"
    descriptor: Averaged = "species_mean"
    """How latent features are averaged over the atoms of a frame."""


@dataclass(frozen=True)
class FarthestPoints:
    """See `scene.Choose`."""

    settings: FarthestPointsConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        averaged = self.settings.descriptor

        def spread_over(above: Indices) -> Indices:
            return above[spread(scene.descriptors(above, averaged), n, scene.known_descriptors(averaged))]

        return above_first(scene, n, spread_over)


def spread(descriptors: NDArray[np.float64], n_batch: int, known: NDArray[np.float64] | None = None) -> Indices:
    """Each choice is the frame farthest from all known and chosen ones.

    `descriptors`: `[n, d]`, one row a frame; distances are Euclidean. `n_batch`: how many to choose at most. Copies
    of known or chosen frames are never chosen. `known`: `[m, d]` rows of the frames already labelled; without them,
    the first frame is the first choice.
    """
    order = farthest_points.farthest_points(np.asarray(descriptors, dtype=np.float64), known)
    different = takewhile(lambda point: point[1] > 0.0, order)
    return np.array([index for index, _ in islice(different, n_batch)], dtype=np.int64)
