"""Radial basis and the network that turns it into the weights of a convolution."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


def polynomial_envelope(x: Tensor, p: int = 6) -> Tensor:
    """Smooth cutoff u(x), x = r/r_max: u(0) = 1, u = u' = u'' = 0 at x = 1 and zero beyond.

    Gasteiger, Groß, Günnemann, "Directional message passing for molecular graphs" (2020), eq. 8.
    """
    a = -(p + 1.0) * (p + 2.0) / 2.0
    b = p * (p + 2.0)
    c = -p * (p + 1.0) / 2.0
    u = 1.0 + x.pow(p) * (a + x * (b + x * c))
    return u * (x < 1.0).to(x.dtype)


class BesselBasis(nn.Module):
    """sqrt(2/r_max) sin(n pi r / r_max) / r * u(r/r_max), n = 1..n_radial, for r in Å.

    Same reference, eq. 7; scaled by r_max/sqrt(2) so that the entries are of order one.
    """

    def __init__(self, n_radial: int, r_max: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.r_max = r_max
        self.register_buffer("frequencies", math.pi * torch.arange(1, n_radial + 1, dtype=dtype), persistent=False)

    def forward(self, lengths: Tensor) -> Tensor:
        """`lengths [G, E]` in Å -> `[G, E, n_radial]`."""
        x = lengths.unsqueeze(-1) / self.r_max
        return torch.sin(self.frequencies * x) / x * polynomial_envelope(x)


class RadialNetwork(nn.Module):
    """Bias-free perceptron from the radial basis to `n_paths * n_channels` weights an edge.

    Without biases it maps zero to zero, so the weights inherit the basis's smooth cutoff. `silu`: a
    `linear.Gate` of l_max 0, in the implementation of choice.
    """

    def __init__(
        self, n_members: int, n_radial: int, hidden: list[int], n_out: int, dtype: torch.dtype, silu: nn.Module
    ) -> None:
        super().__init__()
        self.silu = silu
        widths = [n_radial, *hidden]
        self.hidden = nn.ParameterList(
            nn.Parameter(torch.empty(n_members, n_in, n_next, dtype=dtype)) for n_in, n_next in pairwise(widths)
        )
        self.last = nn.Parameter(torch.empty(n_members, widths[-1], n_out, dtype=dtype))

    def forward(self, basis: Tensor) -> Tensor:
        """`basis [G, E, n_radial]` -> `[M, E, n_out]`."""
        x = basis
        for weight in self.hidden:
            x = self.silu(torch.matmul(x, weight / math.sqrt(weight.shape[1]))).squeeze(2)
        return torch.matmul(x, self.last / math.sqrt(self.last.shape[1]))
