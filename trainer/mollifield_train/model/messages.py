"""What flows along edges: a convolution with weights that depend on the edge's length."""

import copy

import torch
from torch import Tensor, nn

from .radial import BesselBasis, RadialNetwork


class RadialMessages(nn.Module):
    """Weights from the radial network: what is trained."""

    def __init__(self, radial: RadialNetwork, convolution: nn.Module) -> None:
        super().__init__()
        self.radial = radial
        self.convolution = convolution

    def forward(
        self, x: Tensor, harmonics: Tensor, lengths: Tensor, basis: Tensor, edge_index: Tensor, n_centres: int
    ) -> Tensor:
        """`x [M, N, (l_in+1)^2, C]`, harmonics, lengths, basis `[G, E, ..]` ->
        `[M, n_centres, K, C]`."""
        return self.convolution(x, harmonics, self.radial(basis), edge_index, n_centres)


class SplineMessages(nn.Module):
    """The same with the radial network tabulated over the length: what is run.

    Cubic Hermite interpolation between equidistant knots from 0 to `r_max`: value and derivative
    are continuous, and both vanish at `r_max` and beyond.
    """

    MEMBER_BUFFERS = ("knots",)

    def __init__(self, messages: RadialMessages, basis: BesselBasis, n_knots: int) -> None:
        super().__init__()
        self.r_max = basis.r_max
        self.convolution = messages.convolution
        weight = messages.radial.last
        self.register_buffer("knots", _tabulate(messages.radial, basis, n_knots).to(weight))

    def forward(
        self, x: Tensor, harmonics: Tensor, lengths: Tensor, basis: Tensor, edge_index: Tensor, n_centres: int
    ) -> Tensor:
        """As `RadialMessages.forward`; `basis` isn't looked at."""
        return torch.ops.mollifield.spline_convolution(
            x,
            harmonics,
            lengths,
            self.knots,
            self.r_max,
            edge_index,
            n_centres,
            self.convolution.terms,
            self.convolution.coefficients,
        )


class NoBasis(nn.Module):
    """In the place of a radial basis that nobody reads any more."""

    def forward(self, lengths: Tensor) -> Tensor:
        """`[G, E, 0]`."""
        return lengths.new_empty(lengths.shape[0], lengths.shape[1], 0)


def _tabulate(radial: RadialNetwork, basis: BesselBasis, n_knots: int) -> Tensor:
    """Value, and derivative times spacing, at each knot: `[M, n_knots, 2, P*C]` float64."""
    spacing = basis.r_max / (n_knots - 1)
    lengths = torch.arange(n_knots, dtype=torch.float64) * spacing
    lengths[0] = 1e-6 * spacing  # sin(x)/x has a limit there, not a value
    lengths[-1] = basis.r_max
    double_basis = BesselBasis(basis.frequencies.shape[0], basis.r_max, torch.float64)
    double_radial = copy.deepcopy(radial).cpu().double()

    def weights(r: Tensor) -> Tensor:
        return double_radial(double_basis(r.unsqueeze(0)))

    # The derivative of a vector by a number: that of its product with a vector u, by u once more.
    lengths.requires_grad_()
    with torch.enable_grad():
        values = weights(lengths)
        u = torch.zeros_like(values, requires_grad=True)
        (product,) = torch.autograd.grad(values, lengths, u, create_graph=True)
        (slopes,) = torch.autograd.grad(product.sum(), u)
    knots = torch.stack([values, slopes * spacing], dim=2).detach()
    knots[:, -1] = 0.0
    return knots
