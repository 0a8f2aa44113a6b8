"""What a label would tell: information gain, alone or with a bonus for distance from the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from .config import AcquisitionConfig
from .descriptors import Averaged
from .greedy import gain_and_distance, standardised
from .most_uncertain import above_first
from .scene import Indices, Scene


class GainConfig(AcquisitionConfig):
    """What acquisitions by information gain share."""

    noise: PositiveFloat = 0.05
    """eV/Å: σ_al of an atom's force where the model file states none; errors below are not worth asking about."""

    IN_WORDS: ClassVar[str] = "chosen by what their labels would tell"

    @property
    def of_distance(self) -> tuple[float, Averaged]:
        """λ, and how descriptors are averaged."""
        return 0.0, "species_mean"


class InformationGainConfig(GainConfig):
    """Frames above the threshold by the gain of their most telling atom, 1/2 log(1 + σ_ep²/σ_al²); then others."""

    kind: Literal["information_gain"] = "information_gain"


class DistantGainConfig(GainConfig):
    """Those that prefer frames far from the others, too."""

    weight: Annotated[float, Field(ge=0.0)] = 1.0
    """λ. Distances between latent descriptors are in units of the labelled frames' own spread."""
    descriptor: Averaged = "species_mean"
    """How latent features are averaged over the atoms of a frame."""

    @property
    def of_distance(self) -> tuple[float, Averaged]:
        return self.weight, self.descriptor


class CombinedConfig(DistantGainConfig):
    """a(x) = 1/2 log(1 + σ_ep²/σ_al²) + λ d(x), d the distance to all that is labelled or chosen already."""

    kind: Literal["combined"] = "combined"


@dataclass(frozen=True)
class Informative:
    """See `scene.Choose`."""

    settings: GainConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        return above_first(scene, n, lambda above: above[self._best(scene, above, n)])

    def _best(self, scene: Scene, above: Indices, n: int) -> Indices:
        weight, averaged = self.settings.of_distance
        rows, known = standardised(scene.descriptors(above, averaged), scene.known_descriptors(averaged))
        return gain_and_distance(information_gain(scene, above, self.settings.noise), rows, known, weight, n)


def information_gain(scene: Scene, indices: Indices, noise: float) -> NDArray[np.float64]:
    """`[len(indices)]`: 1/2 log(1 + σ_ep²/σ_al²) of the atom of each frame where it is largest.

    Of one measurement with Gaussian noise σ_al of a quantity with prior variance σ_ep² this is the mutual information
    in nats (MacKay, Neural Comput. 4, 590 (1992)). σ_al is what the model file states, `noise` (eV/Å) where it states
    none, or zero.
    """
    gains = []
    for predicted in scene.predictions(indices):
        stated = predicted.aleatoric_std
        aleatoric = np.full(len(predicted.forces_std), noise) if stated is None else np.where(stated > 0, stated, noise)
        gains.append(0.5 * np.log1p((predicted.forces_std / aleatoric) ** 2).max())
    return np.array(gains)
