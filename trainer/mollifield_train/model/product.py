"""Products of an atom's features with themselves: pairs of neighbours seen at once.

    out_i[l_3, path] = CG(A_i[l_1], A_i[l_2] -> l_3)      for each channel, l_1 <= l_2

raises the body order of a layer at the cost of the atoms, not of the edges (Batatia et al., "MACE",
NeurIPS 2022, sec. 4, correlation order 2).
"""

import torch
from e3nn import o3
from torch import Tensor, nn

from .convolution import from_e3nn, require_native, to_e3nn
from .coupling import coupling_table
from .irreps import Path, tensor_product_paths
from .linear import EquivariantLinear


def square_paths(l_max: int, l_max_out: int) -> list[Path]:
    """Natural-parity paths of a product of features with themselves, each pair of degrees once."""
    return [p for p in tensor_product_paths(l_max, l_max, l_max_out) if p.l_1 <= p.l_2]


class SquareE3nn(nn.Module):
    """Reference path: e3nn's `TensorProduct` without weights (mode ``uuu``)."""

    def __init__(self, l_max: int, l_max_out: int, n_channels: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.n_channels = n_channels
        self.paths = square_paths(l_max, l_max_out)
        degrees = [path.l_3 for path in self.paths]
        self.paths_per_l = [degrees.count(l) for l in range(l_max_out + 1)]
        irreps = o3.Irreps([(n_channels, (l, (-1) ** l)) for l in range(l_max + 1)])
        self.product = o3.TensorProduct(
            irreps,
            irreps,
            o3.Irreps([(n_channels, (l, (-1) ** l)) for l in degrees]),
            [(p.l_1, p.l_2, k, "uuu", False) for k, p in enumerate(self.paths)],
            irrep_normalization="component",
            path_normalization="none",
        )

    def forward(self, x: Tensor) -> Tensor:
        """``x [M, N, (l_max+1)^2, C]`` -> ``[M, N, K, C]``, rows as `EquivariantLinear` reads them."""
        features = to_e3nn(x, self.l_max)
        return from_e3nn(self.product(features, features), self.paths_per_l, self.n_channels)


class SquareNative(nn.Module):
    """The same numbers from ``torch.ops.mollifield.channel_product``; on a GPU, from e3nn."""

    def __init__(self, l_max: int, l_max_out: int, n_channels: int) -> None:
        super().__init__()
        require_native()
        self.reference = SquareE3nn(l_max, l_max_out, n_channels)
        self.paths_per_l = self.reference.paths_per_l
        terms, coefficients = coupling_table(self.reference.paths)
        self.register_buffer("terms", terms, persistent=False)
        self.register_buffer("coefficients", coefficients, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """As `SquareE3nn.forward`."""
        if x.is_cuda:
            return self.reference(x)
        return torch.ops.mollifield.channel_product(x, x, self.terms, self.coefficients)


class Update(nn.Module):
    """Summed messages to the inputs of the gate: a linear map (correlation 1)."""

    def __init__(
        self, n_members: int, paths_per_l: list[int], n_channels: int, n_scalars: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.mix = EquivariantLinear(
            n_members, paths_per_l, n_channels, n_channels, dtype, n_scalars
        )

    def forward(self, messages: Tensor) -> list[Tensor]:
        """``[M, N, K, C]`` -> ``[M, N, 2l+1, C]`` for each l; scalars have ``n_scalars`` channels."""
        return self.mix(messages)


class SquaredUpdate(nn.Module):
    """The same, with products of pairs of messages added (correlation 2)."""

    def __init__(
        self, square: nn.Module, n_members: int, paths_per_l: list[int], l_max_out: int,
        n_channels: int, n_scalars: int, dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.n_out = (l_max_out + 1) ** 2
        self.mix = EquivariantLinear(n_members, paths_per_l, n_channels, n_channels, dtype)
        self.square = square
        self.mix_linear = EquivariantLinear(
            n_members, [1] * (l_max_out + 1), n_channels, n_channels, dtype, n_scalars
        )
        self.mix_square = EquivariantLinear(
            n_members, square.paths_per_l, n_channels, n_channels, dtype, n_scalars
        )

    def forward(self, messages: Tensor) -> list[Tensor]:
        """As `Update.forward`."""
        features = torch.cat(self.mix(messages), dim=2)
        blocks = self.mix_linear(features[:, :, : self.n_out])
        for l, squared in enumerate(self.mix_square(self.square(features))):
            blocks[l] = blocks[l] + squared
        return blocks
