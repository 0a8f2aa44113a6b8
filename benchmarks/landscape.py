"""The loss around trained weights: how much of their neighbourhood is good."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def loss_entropy(
    loss: Callable[[], float], parameters: Sequence[Tensor], n_lines: int, reach: float, n_points: int, scale: float
) -> float:
    """S = ln ⟨exp(-L/scale)⟩ over points of random lines through the weights; 0 for a loss that is 0 everywhere.

    `loss()` is that of `parameters`, [M, ...] each, as they are; they are as they were afterwards. A direction is
    Gaussian, and in each tensor and member as long as the weights there, so that `reach` is a relative length: from
    -reach to reach, `n_points` a line. The directions are the same whatever the weights.

    After the loss entropy of Vita and Schwalbe-Koda (arXiv 2302.05823), from whom are the normalised lines, the
    training set, and that flatter means more. They normalise single filters; the average over points is our reading.
    """
    generator = torch.Generator().manual_seed(0)
    before = [parameter.detach().clone() for parameter in parameters]
    found = []
    try:
        for _ in range(n_lines):
            direction = [_like(weights, generator) for weights in before]
            for t in np.linspace(-reach, reach, n_points):
                for parameter, weights, way in zip(parameters, before, direction, strict=True):
                    parameter.data.copy_(weights + t * way)
                found.append(loss())
    finally:
        for parameter, weights in zip(parameters, before, strict=True):
            parameter.data.copy_(weights)
    losses = np.nan_to_num(np.array(found), nan=np.inf) / scale
    return float(np.logaddexp.reduce(-losses) - np.log(len(losses)))


def _like(weights: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction, each member's as long as its weights [M, ...]."""
    drawn = torch.randn(weights.shape, generator=generator, dtype=torch.float64).to(weights.dtype).flatten(1)
    lengths = weights.flatten(1).norm(dim=1, keepdim=True)
    return (drawn * lengths / drawn.norm(dim=1, keepdim=True)).view_as(weights)
