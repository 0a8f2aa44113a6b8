"""The equivariant convolution: gather neighbours, couple with the edge, scatter to the centre.

    out_i[l_3, path] = sum_j  w_ij[path] * CG(x_j[l_1], Y_ij[l_2] -> l_3)      for each channel

with e3nn's `component` normalisation: CG is sqrt(2 l_3 + 1) times the Wigner 3j symbol.
"""

import torch
from e3nn import o3
from torch import Tensor, nn

from .coupling import coupling_table
from .irreps import Path, paths_per_l
from .native import require_native


class ConvolutionE3nn(nn.Module):
    """Reference path: e3nn's `TensorProduct` on edges (connection mode `uvu`)."""

    def __init__(self, paths: list[Path], n_channels: int) -> None:
        """`paths` sorted by l_3, see `irreps.tensor_product_paths`."""
        super().__init__()
        self.n_channels = n_channels
        self.paths = paths
        self.paths_per_l = paths_per_l(paths)
        self.l_max_in = max(path.l_1 for path in paths)
        l_max_edge = max(path.l_2 for path in paths)
        self.n_harmonics = (l_max_edge + 1) ** 2
        irreps_in = o3.Irreps([(n_channels, (l, (-1) ** l)) for l in range(self.l_max_in + 1)])
        irreps_edge = o3.Irreps([(1, (l, (-1) ** l)) for l in range(l_max_edge + 1)])
        irreps_out = o3.Irreps([(n_channels, (p.l_3, (-1) ** p.l_3)) for p in self.paths])
        self.product = o3.TensorProduct(
            irreps_in,
            irreps_edge,
            irreps_out,
            [(p.l_1, p.l_2, k, "uvu", True) for k, p in enumerate(self.paths)],
            irrep_normalization="component",
            path_normalization="none",
            shared_weights=False,
            internal_weights=False,
        )

    def forward(self, x: Tensor, harmonics: Tensor, weights: Tensor, edge_index: Tensor, n_centres: int) -> Tensor:
        """Messages summed over neighbours.

        `x [M, N, (l_in+1)^2, C]`, `harmonics [G, E, (l_edge+1)^2]`, `weights [M, E, P*C]`,
        `edge_index [2, E]` -> `[M, n_centres, K, C]`, rows as `EquivariantLinear` reads them;
        centres are the first `n_centres` of the N atoms.
        """
        n_members = x.shape[0]
        sent = to_e3nn(x, self.l_max_in).index_select(1, edge_index[1])
        edges = harmonics.narrow(2, 0, self.n_harmonics).expand(n_members, -1, -1)
        messages = self.product(sent, edges, weights)
        summed = messages.new_zeros(n_members, n_centres, messages.shape[2])
        summed = summed.index_add(1, edge_index[0], messages)
        return from_e3nn(summed, self.paths_per_l, self.n_channels)


class ConvolutionNative(nn.Module):
    """The same numbers from `torch.ops.mollifield.convolution`."""

    def __init__(self, paths: list[Path], n_channels: int) -> None:
        super().__init__()
        require_native()
        self.paths = paths
        self.paths_per_l = paths_per_l(paths)
        terms, coefficients = coupling_table(self.paths)
        self.register_buffer("terms", terms, persistent=False)
        self.register_buffer("coefficients", coefficients, persistent=False)

    def forward(self, x: Tensor, harmonics: Tensor, weights: Tensor, edge_index: Tensor, n_centres: int) -> Tensor:
        """As `ConvolutionE3nn.forward`."""
        return torch.ops.mollifield.convolution(
            x, harmonics, weights, edge_index, n_centres, self.terms, self.coefficients
        )


def to_e3nn(x: Tensor, l_max: int) -> Tensor:
    """Component-major `[M, N, (l_max+1)^2, C]` to e3nn's `[M, N, (l, channel, m)]`."""
    blocks: list[Tensor] = []
    for l in range(l_max + 1):
        blocks.append(x[:, :, l * l : (l + 1) * (l + 1)].transpose(2, 3).flatten(2))
    return torch.cat(blocks, dim=2)


def from_e3nn(x: Tensor, paths_per_l: list[int], n_channels: int) -> Tensor:
    """e3nn's `[M, N, (l, path, channel, m)]` to rows `m * n_paths + path` of C channels."""
    out: list[Tensor] = []
    start = 0
    for l, n_paths in enumerate(paths_per_l):
        width = n_paths * n_channels * (2 * l + 1)
        block = x[:, :, start : start + width]
        start += width
        block = block.reshape(x.shape[0], x.shape[1], n_paths, n_channels, 2 * l + 1)
        out.append(block.permute(0, 1, 4, 2, 3).reshape(x.shape[0], x.shape[1], -1, n_channels))
    return torch.cat(out, dim=2)
