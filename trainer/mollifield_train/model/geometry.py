"""Lengths and spherical harmonics of edges."""

import torch
from e3nn import o3
from torch import Tensor, nn

from .native import require_native


class GeometryE3nn(nn.Module):
    """Reference path: e3nn's `SphericalHarmonics`, `component` normalisation."""

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.harmonics = o3.SphericalHarmonics(list(range(l_max + 1)), normalize=True, normalization="component")

    def forward(self, edge_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """`[G, E, 3]` in Å -> harmonics `[G, E, (l_max+1)^2]`, lengths `[G, E]` in Å."""
        return self.harmonics(edge_vectors), torch.linalg.vector_norm(edge_vectors, dim=-1)


class GeometryNative(nn.Module):
    """The same numbers from `torch.ops.mollifield.edge_geometry`."""

    def __init__(self, l_max: int) -> None:
        super().__init__()
        require_native()
        self.l_max = l_max

    def forward(self, edge_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """As `GeometryE3nn.forward`."""
        return torch.ops.mollifield.edge_geometry(edge_vectors, self.l_max)
