"""Linear maps and gates that respect rotations, on component-major features.

Between the two, features are flat: all scalars of an atom first, then the 2l+1 components of each l >= 1.
"""

import math

import torch
from torch import Tensor, nn

from .activation import scaled_sigmoid, scaled_silu


class EquivariantLinear(nn.Module):
    """One matrix for each l and member: mixes channels, never components.

    Input `[M, N, K, C_in]` where the K rows of one l are its 2l+1 components times `n_paths[l]`
    paths, path fastest: `row = offset(l) + m * n_paths[l] + path`. Output `[M, N, D]`: `n_scalars_out`
    numbers for l = 0, then 2l+1 times `n_out` for each l. Weights are scaled by 1/sqrt(fan-in), as in
    e3nn's `o3.Linear`, and by `scale`.
    """

    def __init__(
        self,
        n_members: int,
        n_paths: list[int],
        n_in: int,
        n_out: int,
        dtype: torch.dtype,
        n_scalars_out: int | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.n_paths = n_paths
        self.n_out = n_out
        self.n_scalars_out = n_out if n_scalars_out is None else n_scalars_out
        self.scale = scale
        self.widths = [self.n_scalars_out] + [n_out] * (len(n_paths) - 1)
        self.fan_ins = [paths * n_in for paths in n_paths]
        self.rows = [(2 * l + 1) * paths for l, paths in enumerate(n_paths)]
        n_weights = sum(a * b for a, b in zip(self.fan_ins, self.widths))
        self.weight = nn.Parameter(torch.empty(n_members, n_weights, dtype=dtype))

    def matrices(self) -> list[Tensor]:
        """`[M, n_paths[l] * C_in, C_out]` for each l, unscaled."""
        sizes = [a * b for a, b in zip(self.fan_ins, self.widths)]
        return [
            block.view(self.weight.shape[0], fan_in, width)
            for block, fan_in, width in zip(self.weight.split(sizes, 1), self.fan_ins, self.widths)
        ]

    def inputs(self) -> Tensor:
        """Which of the irreps that it reads, path after path of each l, a member's weights multiply: `[n_weights]`."""
        found: list[Tensor] = []
        start = 0
        for fan_in, width in zip(self.fan_ins, self.widths):
            found.append(torch.arange(start, start + fan_in).repeat_interleave(width))
            start += fan_in
        return torch.cat(found)

    def forward(self, x: Tensor) -> Tensor:
        """`[M, N, K, C_in]` -> `[M, N, D]`."""
        n_members, n_atoms = x.shape[0], x.shape[1]
        out: list[Tensor] = []
        # Splits have one backward for all blocks, where each slice would fill a tensor of zeros.
        blocks = x.split(self.rows, dim=2)
        for l, matrix in enumerate(self.matrices()):
            fan_in = self.fan_ins[l]
            flat = blocks[l].reshape(n_members, n_atoms * (2 * l + 1), fan_in)
            mixed = torch.bmm(flat, matrix * (self.scale / math.sqrt(fan_in)))
            out.append(mixed.view(n_members, n_atoms, (2 * l + 1) * matrix.shape[2]))
        return torch.cat(out, dim=2)


class LinearNative(EquivariantLinear):
    """The same numbers from `torch.ops.mollifield.linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """As `EquivariantLinear.forward`."""
        return torch.ops.mollifield.linear(x, self.weight, self.n_paths, self.n_out, self.n_scalars_out, self.scale)


class Gate(nn.Module):
    """SiLU on scalars; every other l is multiplied by a sigmoid of scalars of its own.

    Weiler et al., "3D steerable CNNs" (2018), sec. 4.
    """

    def __init__(self, l_max: int, n_channels: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.n_scalars_in = n_channels * (l_max + 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[M, N, D]`: C scalars, C gates for each l >= 1, components -> `[M, N, (l_max+1)^2, C]`."""
        c = x.shape[2] // ((self.l_max + 1) * (self.l_max + 1) + self.l_max)
        sizes = [c] * (self.l_max + 1) + [(2 * l + 1) * c for l in range(1, self.l_max + 1)]
        blocks = x.split(sizes, dim=2)
        out = [scaled_silu(blocks[0])]
        for l in range(1, self.l_max + 1):
            gates = scaled_sigmoid(blocks[l]).repeat(1, 1, 2 * l + 1)
            out.append(blocks[self.l_max + l] * gates)
        return torch.cat(out, dim=2).view(x.shape[0], x.shape[1], -1, c)


class GateNative(Gate):
    """The same numbers from `torch.ops.mollifield.gate`."""

    def forward(self, x: Tensor) -> Tensor:
        """As `Gate.forward`."""
        return torch.ops.mollifield.gate(x, self.l_max)
