"""Products of an atom's features with themselves: pairs of neighbours seen at once.

    out_i[l_3, path] = CG(A_i[l_1], A_i[l_2] -> l_3)      for each channel, l_1 <= l_2

raises the body order of a layer at the cost of the atoms, not of the edges (Batatia et al., "MACE",
NeurIPS 2022, sec. 4, correlation order 2).
"""

import torch
from e3nn import o3
from torch import Tensor, nn

from .convolution import from_e3nn, to_e3nn
from .coupling import coupling_table
from .irreps import Path, paths_per_l, tensor_product_paths
from .native import require_native


def square_paths(l_max: int, l_max_out: int) -> list[Path]:
    """Natural-parity paths of a product of features with themselves, each pair of degrees once."""
    return [p for p in tensor_product_paths(l_max, l_max, l_max_out) if p.l_1 <= p.l_2]


class SquareE3nn(nn.Module):
    """Reference path: e3nn's `TensorProduct` without weights (mode `uuu`)."""

    def __init__(self, l_max: int, l_max_out: int, n_channels: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.n_channels = n_channels
        self.paths = square_paths(l_max, l_max_out)
        self.paths_per_l = paths_per_l(self.paths, l_max_out)
        irreps = o3.Irreps([(n_channels, (l, (-1) ** l)) for l in range(l_max + 1)])
        self.product = o3.TensorProduct(
            irreps,
            irreps,
            o3.Irreps([(n_channels, (l, (-1) ** l)) for _, _, l in self.paths]),
            [(p.l_1, p.l_2, k, "uuu", False) for k, p in enumerate(self.paths)],
            irrep_normalization="component",
            path_normalization="none",
        )

    def forward(self, x: Tensor) -> Tensor:
        """`x [M, N, (l_max+1)^2, C]` -> `[M, N, K, C]`, rows as `EquivariantLinear` reads them."""
        features = to_e3nn(x, self.l_max)
        return from_e3nn(self.product(features, features), self.paths_per_l, self.n_channels)


class SquareNative(nn.Module):
    """The same numbers from `torch.ops.mollifield.channel_product`."""

    def __init__(self, l_max: int, l_max_out: int, n_channels: int) -> None:
        super().__init__()
        require_native()
        paths = square_paths(l_max, l_max_out)
        self.paths_per_l = paths_per_l(paths, l_max_out)
        terms, coefficients = coupling_table(paths)
        self.register_buffer("terms", terms, persistent=False)
        self.register_buffer("coefficients", coefficients, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """As `SquareE3nn.forward`."""
        return torch.ops.mollifield.channel_product(x, x, self.terms, self.coefficients)


class Update(nn.Module):
    """Summed messages to the inputs of the gate: a linear map (correlation 1)."""

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.mix = mix

    def forward(self, messages: Tensor) -> Tensor:
        """`[M, N, K, C]` -> `[M, N, D]`, see `linear.Gate`."""
        return self.mix(messages)


class SquaredUpdate(nn.Module):
    """The same, with products of pairs of messages added (correlation 2).

    `mix`: messages to one path for each l up to l_max; `mix_linear`, `mix_square`: those up to
    `l_max_out`, and their products, to the inputs of the gate.
    """

    def __init__(
        self,
        square: nn.Module,
        mix: nn.Module,
        mix_linear: nn.Module,
        mix_square: nn.Module,
        l_max_out: int,
        n_channels: int,
    ) -> None:
        super().__init__()
        self.n_out = (l_max_out + 1) ** 2
        self.n_channels = n_channels
        self.mix = mix
        self.square = square
        self.mix_linear = mix_linear
        self.mix_square = mix_square

    def forward(self, messages: Tensor) -> Tensor:
        """As `Update.forward`."""
        features = self.mix(messages)
        features = features.view(features.shape[0], features.shape[1], -1, self.n_channels)
        linear = self.mix_linear(features.narrow(2, 0, self.n_out))
        return linear + self.mix_square(self.square(features))
