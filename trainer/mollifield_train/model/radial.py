"""Radial basis and the network that turns it into the weights of a convolution."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .activation import scaled_silu, scaled_silu_slope


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


def basis_at_knots(basis: BesselBasis, n_knots: int) -> Tensor:
    """Value of the basis, and derivative times spacing, at equidistant knots from 0 to `r_max`.

    `[2, n_knots, n_radial]` float64; both are zero at the last knot.
    """
    exact = BesselBasis(basis.frequencies.shape[0], basis.r_max, torch.float64)
    spacing = basis.r_max / (n_knots - 1)
    lengths = torch.arange(n_knots, dtype=torch.float64) * spacing
    lengths[0] = 1e-6 * spacing  # sin(x)/x has a limit there, not a value
    lengths[-1] = basis.r_max
    by_length = torch.func.jvp(exact, (lengths,), (torch.ones_like(lengths),))
    found = torch.stack([by_length[0], by_length[1] * spacing])
    found[:, -1] = 0.0
    return found


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

    def knots(self, basis: Tensor) -> Tensor:
        """Value and derivative at the knots of `basis_at_knots`, `[M, n_knots, 2, n_out]`: the chain rule forward."""
        x, slopes = basis[0], basis[1]
        for weight in self.hidden:
            matrix = weight / math.sqrt(weight.shape[1])
            x, slopes = torch.matmul(x, matrix), torch.matmul(slopes, matrix)
            x, slopes = scaled_silu(x), slopes * scaled_silu_slope(x)
        last = self.last / math.sqrt(self.last.shape[1])
        return torch.stack([torch.matmul(x, last), torch.matmul(slopes, last)], dim=2)
