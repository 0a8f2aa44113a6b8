"""What flows along edges: a convolution with weights that depend on the edge's length."""

import copy
from typing import Final

import torch
from torch import Tensor, nn

from .radial import BesselBasis, RadialNetwork, basis_at_knots


class RadialMessages(nn.Module):
    """Weights from the radial network: what is trained."""

    def __init__(self, radial: RadialNetwork, convolution: nn.Module, basis: BesselBasis) -> None:
        """`basis`: whose functions `radial` reads."""
        super().__init__()
        self.radial = radial
        self.convolution = convolution

    def forward(
        self, x: Tensor, harmonics: Tensor, lengths: Tensor, basis: Tensor, edge_index: Tensor, n_centres: int
    ) -> Tensor:
        """`x [M, N, (l_in+1)^2, C]`, harmonics, lengths, basis `[G, E, ..]` ->
        `[M, n_centres, K, C]`."""
        return self.convolution(x, harmonics, self.radial(basis), edge_index, n_centres)


class TabulatedMessages(RadialMessages):
    """The same, in training from a table of the network where a batch has many more edges than a table has knots.

    Values and derivatives at `N_KNOTS` lengths are then all that the network computes, and edges interpolate between
    them (operator `interpolation`), as those of an exported model do: differentiable twice, by weights and lengths.
    """

    N_KNOTS: Final[int] = 256
    """Forces of trained models then differ by 0.01 to 0.2 meV/Å from the network's (docs/performance.md)."""
    EDGES: Final[int] = 2 * N_KNOTS
    """From which on the table is less work: a knot takes a value and a derivative."""

    def __init__(self, radial: RadialNetwork, convolution: nn.Module, basis: BesselBasis) -> None:
        super().__init__(radial, convolution, basis)
        self.r_max = basis.r_max
        at_knots = basis_at_knots(basis, self.N_KNOTS).to(radial.last)
        self.register_buffer("basis_at_knots", at_knots, persistent=False)

    def forward(
        self, x: Tensor, harmonics: Tensor, lengths: Tensor, basis: Tensor, edge_index: Tensor, n_centres: int
    ) -> Tensor:
        """As `RadialMessages.forward`."""
        if self.training and lengths.shape[1] >= self.EDGES:
            knots = self.radial.knots(self.basis_at_knots)
            weights = torch.ops.mollifield.interpolation(knots, lengths, self.r_max)
        else:
            weights = self.radial(basis)
        return self.convolution(x, harmonics, weights, edge_index, n_centres)


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
        radial, weight = copy.deepcopy(messages.radial).cpu().double(), messages.radial.last
        self.register_buffer("knots", radial.knots(basis_at_knots(basis, n_knots)).detach().to(weight))

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
