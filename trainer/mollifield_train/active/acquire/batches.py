"""Batches that are chosen jointly, in the latent space of the committee."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from .config import AcquisitionConfig
from .descriptors import Averaged
from .greedy import Array, largest_cluster, log_det, standardised
from .most_uncertain import above_first
from .scene import Indices, Scene


class LogDetConfig(AcquisitionConfig):
    """Frames above the threshold that together tell most about a linear function of the latent descriptors."""

    kind: Literal["log_det"] = "log_det"
    noise: PositiveFloat = 0.1
    """Of a label, where a descriptor one spread away from the labelled frames' mean has a prior std of 1."""
    descriptor: Averaged = "species_mean"
    """How latent features are averaged over the atoms of a frame."""

    IN_WORDS: ClassVar[str] = "chosen for what they tell together"


class LargestClusterConfig(AcquisitionConfig):
    """Frames above the threshold, each the farthest in the largest cluster about what is labelled or chosen."""

    kind: Literal["largest_cluster"] = "largest_cluster"
    descriptor: Averaged = "species_mean"
    """How latent features are averaged over the atoms of a frame."""

    IN_WORDS: ClassVar[str] = "chosen from clusters that are not represented"


@dataclass(frozen=True)
class LogDet:
    """See `scene.Choose`."""

    settings: LogDetConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        return _jointly(scene, n, self.settings.descriptor, partial(log_det, noise=self.settings.noise, n=n))


@dataclass(frozen=True)
class LargestCluster:
    """See `scene.Choose`."""

    settings: LargestClusterConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        return _jointly(scene, n, self.settings.descriptor, partial(largest_cluster, n=n))


def _jointly(scene: Scene, n: int, averaged: Averaged, choose: Callable[[Array, Array], Indices]) -> Indices:
    """`choose(rows, known)` among the frames above the threshold, by standardised descriptors."""

    def best(above: Indices) -> Indices:
        return above[choose(*standardised(scene.descriptors(above, averaged), scene.known_descriptors(averaged)))]

    return above_first(scene, n, best)
