"""Diversity alone until the committee's std has been seen to follow its errors; then what labels would tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import scipy.stats
from pydantic import Field, PositiveInt

from .descriptors import labelled_atoms
from .farthest_points import FarthestPoints, FarthestPointsConfig
from .information import DistantGainConfig, Informative
from .scene import Indices, Scene


class WhenTrustedConfig(DistantGainConfig):
    """`farthest_points` until the std is to be trusted, then `combined`.

    It is trusted when, atom by atom of the labelled validation frames, its rank correlation with the force error is
    large enough and the root mean square of error over std is near 1. Without validation frames it never is.
    """

    kind: Literal["when_trusted"] = "when_trusted"
    correlation: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    """Rank correlation (Spearman) of error and std, at least."""
    factor: Annotated[float, Field(gt=1.0)] = 3.0
    """The root mean square of error over std lies between 1/factor and factor."""
    n_atoms: PositiveInt = 50
    """In validation frames, at least."""

    IN_WORDS: ClassVar[str] = "chosen by distance, and by what labels would tell once stds could be trusted"


@dataclass(frozen=True)
class WhenTrusted:
    """See `scene.Choose`."""

    settings: WhenTrustedConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        if self.trusts(scene):
            return Informative(self.settings)(scene, n, rng)
        return FarthestPoints(FarthestPointsConfig(descriptor=self.settings.descriptor))(scene, n, rng)

    def trusts(self, scene: Scene) -> bool:
        """Whether the committee's stds passed the test on the frames for validation."""
        stds, errors = [np.zeros(0)], [np.zeros(0)]
        for atoms in scene.validation:
            found, among = scene.committee.predict(atoms), labelled_atoms(atoms)
            stds.append(found.forces_std[among])
            errors.append(np.linalg.norm(found.forces - atoms.get_forces(), axis=1)[among])
        std, error = np.concatenate(stds), np.concatenate(errors)
        std, error = std[std > 0.0], error[std > 0.0]
        if len(std) < self.settings.n_atoms or np.ptp(std) == 0.0 or np.ptp(error) == 0.0:
            return False
        ratio = float(np.sqrt(np.mean((error / std) ** 2)))
        correlation = float(scipy.stats.spearmanr(std, error).statistic)
        settings = self.settings
        return correlation >= settings.correlation and 1.0 / settings.factor <= ratio <= settings.factor
