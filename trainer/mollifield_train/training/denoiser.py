"""The readout that guesses displacements, of the mollified term's form `denoise` (`loss.mollifier.denoise`)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mollifield import contract

from ..data.batches import Batch, Graph
from ..loss.mollifier.sections import DenoiseConfig, FormConfig
from ..model.protocol import Potential
from ..predict import displaced_outputs
from .readout import Readout, latent_length

_FROM_WEIGHTS = 7919
"""Added to a member's seed, so that its readout is not drawn like its other weights."""


class Denoiser(nn.Module):
    """From latent features at r + s and labelled forces F at r to displacements over σ, for each member

        ŝ_i/σ = -(1 + a_i) ℓ ∂A/∂r_i + b_i F_i/F_0,    A = Σ A_i,    A_i, a_i, b_i from (latent_i, |F_i|/F_0)

    with ℓ = 1 Å and F_0 the RMS of the training forces. It turns with the frame. With
    A_i the energy of the atom and b its compliance this is F - F(r + s), to first order Hs, times the compliance.
    """

    def __init__(self, n_latent: int, force_scale: float, seeds: Sequence[int], dtype: torch.dtype) -> None:
        """`force_scale` in eV/Å."""
        super().__init__()
        self.force_scale = force_scale
        self.readout = Readout(n_latent + 1, 3, [seed + _FROM_WEIGHTS for seed in seeds], dtype)

    def forward(self, model: Potential, batch: Batch, displacements: Tensor) -> Tensor:
        """[S, N, 3] Å -> [M, S, N, 3], in the width of what they were drawn from; differentiable by all weights."""
        forces = (batch.forces / self.force_scale).to(model.dtype)
        read = _Read(model, self.readout, torch.linalg.vector_norm(forces, dim=1).repeat(len(displacements)))
        outputs, gradient = displaced_outputs(read, model.r_max, batch, displacements)
        gates = outputs[contract.LATENT].view(*gradient.shape[:3], 2)
        return gates[..., 1:] * forces - (1.0 + gates[..., :1]) * gradient


class _Read:
    """A model whose energies are A_i, and whose latent features are a_i and b_i."""

    def __init__(self, model: Potential, readout: Readout, lengths: Tensor) -> None:
        """`lengths` [N] of the forces of all atoms."""
        self.n_members, self.shared_trunk, self.dtype = model.n_members, model.shared_trunk, model.dtype
        self._model, self._readout, self._lengths = model, readout, lengths

    def __call__(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> contract.Outputs:
        """As `protocol.Potential`."""
        latent = contract.named_outputs(self._model(edge_vectors, edge_index, types))[contract.LATENT]
        lengths = self._lengths[:, None].expand(len(latent), -1, 1)
        read = self._readout(torch.cat([latent, lengths], dim=2))
        return {contract.ATOMIC_ENERGIES: read[..., 0], contract.LATENT: read[..., 1:]}


def denoiser_of(
    term: FormConfig | None, model: Potential, training: Sequence[Graph], force_scale: float, seeds: Sequence[int]
) -> Denoiser | None:
    """What the `denoise` form needs, for members of `model` with `seeds`; None for other forms."""
    if not isinstance(term, DenoiseConfig):
        return None
    return Denoiser(latent_length(model, training[0]), force_scale, seeds, model.dtype)
