"""Laplace: the posterior itself, which knows no other reason for errors than noise and too few data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .draws import orthogonal
from .features import FrameFeatures
from .last_layer import Posterior


def laplace(posterior: Posterior, found: Sequence[FrameFeatures], n: int, generator: torch.Generator) -> Tensor:
    """`[n, F]` deviations from the posterior's mean, drawn from N(0, H^-1); the frames are not looked at."""
    return orthogonal(n, len(posterior.mean), generator) @ posterior.covariance_root()
