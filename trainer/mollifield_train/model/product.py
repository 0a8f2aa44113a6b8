"""Products of an atom's features with each other: pairs and triples of neighbours seen at once.

    out_i[l_3, path] = CG(A_i[l_1], B_i[l_2] -> l_3)      for each channel

raises the body order of a layer at the cost of the atoms, not of the edges (Batatia et al., "MACE",
NeurIPS 2022, sec. 4). With B = A that is correlation order 2; with what a linear map makes of A x A as B, order 3.
"""

import torch
from e3nn import o3
from torch import Tensor, nn

from .convolution import from_e3nn, to_e3nn
from .coupling import coupling_table
from .irreps import Path, paths_per_l, tensor_product_paths
from .linear import EquivariantLinear
from .native import require_native


def square_paths(l_max: int, l_max_out: int) -> list[Path]:
    """Natural-parity paths of a product of features with themselves, each pair of degrees once."""
    return [p for p in tensor_product_paths(l_max, l_max, l_max_out) if p.l_1 <= p.l_2]


class ProductE3nn(nn.Module):
    """Reference path: e3nn's `TensorProduct` without weights (mode `uuu`)."""

    def __init__(self, paths: list[Path], n_channels: int) -> None:
        """`paths` sorted by l_3, see `irreps.tensor_product_paths`."""
        super().__init__()
        self.n_channels = n_channels
        self.paths_per_l = paths_per_l(paths)
        self.l_max_1, self.l_max_2 = max(p.l_1 for p in paths), max(p.l_2 for p in paths)
        self.product = o3.TensorProduct(
            o3.Irreps([(n_channels, (l, (-1) ** l)) for l in range(self.l_max_1 + 1)]),
            o3.Irreps([(n_channels, (l, (-1) ** l)) for l in range(self.l_max_2 + 1)]),
            o3.Irreps([(n_channels, (p.l_3, (-1) ** p.l_3)) for p in paths]),
            [(p.l_1, p.l_2, k, "uuu", False) for k, p in enumerate(paths)],
            irrep_normalization="component",
            path_normalization="none",
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`x, y [M, N, (l_max+1)^2, C]` -> `[M, N, K, C]`, rows as `EquivariantLinear` reads them."""
        product = self.product(to_e3nn(x, self.l_max_1), to_e3nn(y, self.l_max_2))
        return from_e3nn(product, self.paths_per_l, self.n_channels)


class ProductNative(nn.Module):
    """The same numbers from `torch.ops.mollifield.channel_product`."""

    def __init__(self, paths: list[Path], n_channels: int) -> None:
        super().__init__()
        require_native()
        self.paths_per_l = paths_per_l(paths)
        terms, coefficients = coupling_table(paths)
        self.register_buffer("terms", terms, persistent=False)
        self.register_buffer("coefficients", coefficients, persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """As `ProductE3nn.forward`."""
        return torch.ops.mollifield.channel_product(x, y, self.terms, self.coefficients)


RMS_EPSILON = 1.0
"""Added to mean squares where features are normalised, which are of order 1 then: small ones stay as they are."""


def normalised(features: Tensor, rms_epsilon: float | None) -> Tensor:
    """Each atom's features `[M, N, K, C]` over sqrt(their mean square + `rms_epsilon`); as they are for None.

    Equivariant: rotations leave the mean square as it is (Nequix, arXiv 2508.16067, normalises layers so).
    """
    if rms_epsilon is None:
        return features
    return features * torch.rsqrt(features.square().mean((2, 3), keepdim=True) + rms_epsilon)


class Update(nn.Module):
    """Summed messages to the inputs of the gate: a linear map (correlation 1)."""

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.mix = mix

    def forward(self, messages: Tensor, kept: Tensor) -> Tensor:
        """`messages [M, N, K, C]`, and `kept [M, N, D]` of the atom itself -> `[M, N, D]`, see `linear.Gate`."""
        return self.mix(messages) + kept


class SquaredUpdate(nn.Module):
    """The same, with products of pairs of messages added (correlation 2).

    `mix`: messages to one path for each l up to l_max; `mix_linear`, `mix_square`: those up to
    `l_max_out`, and their products, to the inputs of the gate. With `rms_epsilon` what `mix` gives is `normalised`.
    """

    def __init__(
        self,
        square: ProductE3nn | ProductNative,
        mix: EquivariantLinear,
        mix_linear: EquivariantLinear,
        mix_square: EquivariantLinear,
        l_max_out: int,
        n_channels: int,
        rms_epsilon: float | None = None,
    ) -> None:
        super().__init__()
        self.rms_epsilon = rms_epsilon
        self.n_out = (l_max_out + 1) ** 2
        self.n_channels = n_channels
        self.mix = mix
        self.square = square
        self.mix_linear = mix_linear
        self.mix_square = mix_square

    def forward(self, messages: Tensor, kept: Tensor) -> Tensor:
        """As `Update.forward`."""
        features = self.mix(messages)
        features = normalised(
            features.view(features.shape[0], features.shape[1], -1, self.n_channels), self.rms_epsilon
        )
        linear = self.mix_linear(features.narrow(2, 0, self.n_out))
        return kept + linear + self.mix_square(self.square(features, features))


class CubedUpdate(nn.Module):
    """The same, with products of triples of messages as well (correlation 3).

    The square, `mix_inner` of it to one path for each l, times the messages once more. `mix_square` reads those rows
    of the square that have degrees up to `l_max_out`, `mix_cube` the last product; the others as in `SquaredUpdate`.
    """

    def __init__(
        self,
        square: ProductE3nn | ProductNative,
        cube: ProductE3nn | ProductNative,
        mix: EquivariantLinear,
        mix_linear: EquivariantLinear,
        mix_square: EquivariantLinear,
        mix_inner: EquivariantLinear,
        mix_cube: EquivariantLinear,
        l_max_out: int,
        n_channels: int,
        rms_epsilon: float | None = None,
    ) -> None:
        super().__init__()
        self.rms_epsilon = rms_epsilon
        self.n_out = (l_max_out + 1) ** 2
        self.n_square = sum(mix_square.rows)
        self.n_channels = n_channels
        self.square = square
        self.cube = cube
        self.mix = mix
        self.mix_linear = mix_linear
        self.mix_square = mix_square
        self.mix_inner = mix_inner
        self.mix_cube = mix_cube

    def forward(self, messages: Tensor, kept: Tensor) -> Tensor:
        """As `Update.forward`."""
        features = self.mix(messages)
        features = normalised(
            features.view(features.shape[0], features.shape[1], -1, self.n_channels), self.rms_epsilon
        )
        square = self.square(features, features)
        pairs = self.mix_inner(square).view(features.shape)
        out = kept + self.mix_linear(features.narrow(2, 0, self.n_out))
        out = out + self.mix_square(square.narrow(2, 0, self.n_square))
        return out + self.mix_cube(self.cube(pairs, features))


class FusedUpdate(nn.Module):
    """The same numbers from `torch.ops.mollifield.products_update`: what is run, not trained.

    First derivatives by messages and by what is kept, none by the weights. A few atoms pass through all maps and
    products at once, so that what lies between stays in the processor's cache.
    """

    cube_paths: list[int]
    rms_epsilon: float | None

    def __init__(self, update: SquaredUpdate | CubedUpdate) -> None:
        """`update` of the native backend, whose weights are shared, and have the same names."""
        super().__init__()
        self.mix, self.mix_linear, self.mix_square = update.mix, update.mix_linear, update.mix_square
        self.square = update.square
        self.cube_paths = []
        if isinstance(update, CubedUpdate):
            self.mix_inner, self.mix_cube, self.cube = update.mix_inner, update.mix_cube, update.cube
            self.cube_paths = update.cube.paths_per_l
        self.message_paths: list[int] = update.mix.n_paths
        self.square_paths: list[int] = update.square.paths_per_l
        self.n_scalars: int = update.mix_linear.n_scalars_out
        self.scale: float = update.mix.scale
        self.rms_epsilon = update.rms_epsilon

    def forward(self, messages: Tensor, kept: Tensor) -> Tensor:
        """As `Update.forward`."""
        weights = [self.mix.weight, self.mix_linear.weight, self.mix_square.weight]
        terms, coefficients = [self.square.terms], [self.square.coefficients]
        if hasattr(self, "cube"):
            weights += [self.mix_inner.weight, self.mix_cube.weight]
            terms += [self.cube.terms]
            coefficients += [self.cube.coefficients]
        return torch.ops.mollifield.products_update(
            messages,
            kept,
            weights,
            terms,
            coefficients,
            self.message_paths,
            self.square_paths,
            self.cube_paths,
            self.n_scalars,
            self.scale,
            self.rms_epsilon,
        )
