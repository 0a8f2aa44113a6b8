"""The frames with the largest std."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .config import AcquisitionConfig
from .scene import Indices, Scene


class MostUncertainConfig(AcquisitionConfig):
    """Frames above the threshold by their std, then others by theirs."""

    kind: Literal["most_uncertain"] = "most_uncertain"


@dataclass(frozen=True)
class MostUncertain:
    """See `scene.Choose`."""

    settings: MostUncertainConfig

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices:
        return above_first(scene, n, lambda above: above[most_uncertain(scene.std[above], n)])


def above_first(scene: Scene, n: int, best: Callable[[Indices], Indices]) -> Indices:
    """What `best` makes of the frames above the threshold; if that is too few, the most uncertain others as well."""
    above, others = np.flatnonzero(scene.above), np.flatnonzero(~scene.above)
    chosen = best(above) if len(above) else above
    return np.concatenate([chosen, others[most_uncertain(scene.std[others], n - len(chosen))]])


def most_uncertain(std: NDArray[np.float64], n_batch: int) -> Indices:
    """Indices of the `n_batch` largest values of `std[n]` (eV/Å), largest first.

    Equal values keep their order, so a restarted run chooses the same frames.
    """
    return np.argsort(-np.asarray(std), kind="stable")[:n_batch].astype(np.int64)
