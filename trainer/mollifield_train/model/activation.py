"""Activations scaled so that N(0, 1) inputs give outputs of unit second moment."""

import torch
from torch import Tensor


def scaled_silu(x: Tensor) -> Tensor:
    """silu(x) / sqrt(E[silu(z)^2]), z ~ N(0, 1); zero stays zero."""
    return torch.nn.functional.silu(x) * 1.6765325


def scaled_silu_slope(x: Tensor) -> Tensor:
    """Derivative of `scaled_silu`."""
    sigmoid = torch.sigmoid(x)
    return sigmoid * (1.0 + x * (1.0 - sigmoid)) * 1.6765325


def scaled_sigmoid(x: Tensor) -> Tensor:
    """sigmoid(x) / sqrt(E[sigmoid(z)^2]), z ~ N(0, 1)."""
    return torch.sigmoid(x) * 1.8462285
