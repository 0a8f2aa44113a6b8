"""Linear maps and gates that respect rotations, on component-major features."""

import math

import torch
from torch import Tensor, nn

from .activation import scaled_sigmoid, scaled_silu


class EquivariantLinear(nn.Module):
    """One matrix for each l and member: mixes channels, never components.

    Input ``[M, N, K, C_in]`` where the K rows of one l are its 2l+1 components times ``n_paths[l]``
    paths, path fastest: ``row = offset(l) + m * n_paths[l] + path``. Output
    ``[M, N, (l_max+1)^2, C_out]``; the scalars (l = 0) may be given more channels, see `Gate`,
    and come back on their own. Weights are scaled by 1/sqrt(fan-in), as in e3nn's `o3.Linear`.
    """

    def __init__(
        self,
        n_members: int,
        n_paths: list[int],
        n_in: int,
        n_out: int,
        dtype: torch.dtype,
        n_scalars_out: int | None = None,
    ) -> None:
        super().__init__()
        self.n_paths = n_paths
        self.n_in = n_in
        self.rows = [(2 * l + 1) * paths for l, paths in enumerate(n_paths)]
        outs = [n_out] * len(n_paths)
        outs[0] = n_out if n_scalars_out is None else n_scalars_out
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(n_members, paths * n_in, out, dtype=dtype))
            for paths, out in zip(n_paths, outs)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """One tensor ``[M, N, 2l+1, C_out]`` for each l."""
        n_members, n_atoms = x.shape[0], x.shape[1]
        out: list[Tensor] = []
        # Splits have one backward for all blocks, where each slice would fill a tensor of zeros.
        blocks = x.split(self.rows, dim=2)
        for l, weight in enumerate(self.weights):
            fan_in = self.n_paths[l] * self.n_in
            flat = blocks[l].reshape(n_members, n_atoms * (2 * l + 1), fan_in)
            mixed = torch.bmm(flat, weight / math.sqrt(fan_in))
            out.append(mixed.view(n_members, n_atoms, 2 * l + 1, weight.shape[2]))
        return out


class Gate(nn.Module):
    """SiLU on scalars; every other l is multiplied by a sigmoid of scalars of its own.

    Weiler et al., "3D steerable CNNs" (2018), sec. 4.
    """

    def __init__(self, l_max: int, n_channels: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.n_channels = n_channels
        self.n_scalars_in = n_channels * (l_max + 1)

    def forward(self, blocks: list[Tensor]) -> Tensor:
        """``[M, N, 1, (l_max+1) C]`` scalars, then ``[M, N, 2l+1, C]`` -> ``[M, N, (l_max+1)^2, C]``."""
        c = self.n_channels
        scalars, gates = blocks[0].split([c, c * self.l_max], dim=3)
        out = [scaled_silu(scalars)]
        if self.l_max > 0:
            for l, gate in enumerate(scaled_sigmoid(gates).split(c, dim=3)):
                out.append(blocks[l + 1] * gate)
        return torch.cat(out, dim=2)
