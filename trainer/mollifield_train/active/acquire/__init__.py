"""Acquisitions: each chooses, among the candidates of a round, those to label.

Another one is a file with a config class and a class like those below, and a line in the table; or a `Kind` of a module
of your own, named by its import path (docs/howto/extend.md).
"""

from __future__ import annotations

from ...kinds import Kinds
from ...section import Kind
from .batches import LargestCluster, LargestClusterConfig, LogDet, LogDetConfig
from .config import AcquisitionConfig
from .farthest_points import FarthestPoints, FarthestPointsConfig
from .information import CombinedConfig, InformationGainConfig, Informative
from .most_uncertain import MostUncertain, MostUncertainConfig
from .random import Random, RandomConfig
from .scene import Choose
from .uncertain_then_diverse import UncertainThenDiverse, UncertainThenDiverseConfig
from .when_trusted import WhenTrusted, WhenTrustedConfig

__all__ = ["ACQUISITIONS", "DEFAULT_ACQUISITION", "acquisition"]

ACQUISITIONS = Kinds(
    {
        "uncertain_then_diverse": Kind(UncertainThenDiverseConfig, UncertainThenDiverse),
        "most_uncertain": Kind(MostUncertainConfig, MostUncertain),
        "farthest_points": Kind(FarthestPointsConfig, FarthestPoints),
        "information_gain": Kind(InformationGainConfig, Informative),
        "combined": Kind(CombinedConfig, Informative),
        "when_trusted": Kind(WhenTrustedConfig, WhenTrusted),
        "log_det": Kind(LogDetConfig, LogDet),
        "largest_cluster": Kind(LargestClusterConfig, LargestCluster),
        "random": Kind(RandomConfig, Random),
    },
    of=Kind,
)
"""By the `kind` of the config: its class, and what makes a `scene.Choose` of its settings."""

DEFAULT_ACQUISITION = "uncertain_then_diverse"
"""Of a config without `kind`."""


def acquisition(settings: AcquisitionConfig) -> Choose:
    """`choose(scene, n, rng) -> indices`, by the kind that `settings` are of."""
    choose: Choose = ACQUISITIONS[settings.kind].make(settings)
    return choose
