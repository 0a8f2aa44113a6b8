"""Auxiliary readouts of latent features, for training only: no exported file has them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mollifield import contract

from ..data.batches import Graph
from ..model.protocol import Potential

HIDDEN = 16


class Readout(nn.Module):
    """Scalars of each atom from its scalars: a two-layer perceptron.

    Every parameter has a leading member dimension; member m's weights depend on its own of `seeds` alone.
    """

    def __init__(self, n_in: int, n_out: int, seeds: Sequence[int], dtype: torch.dtype) -> None:
        super().__init__()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def drawn(*shape: int) -> Tensor:
            return torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in generators]).to(dtype)

        self.weight_1 = nn.Parameter(drawn(n_in, HIDDEN))
        self.weight_2 = nn.Parameter(0.1 * drawn(HIDDEN, n_out))  # small, so that it begins with nearly nothing

    def forward(self, features: Tensor) -> Tensor:
        """[M, N, n_in] -> [M, N, n_out]."""
        x = nn.functional.silu(torch.bmm(features, self.weight_1 / math.sqrt(features.shape[2])))
        return torch.bmm(x, self.weight_2 / math.sqrt(HIDDEN))


def latent_length(model: Potential, graph: Graph) -> int:
    """Of a member's latent features, of which models say nothing but by giving some."""
    with torch.no_grad():
        vectors = graph.edge_vectors.to(model.dtype).unsqueeze(0)
        return model(vectors, graph.edge_index, graph.types)[contract.LATENT].shape[2]
