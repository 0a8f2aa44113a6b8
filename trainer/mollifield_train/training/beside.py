"""Frames that another reference method labelled, learnt beside the training's.

What the other method says more, or less, has a readout of its own, for training only. So the two methods share all that
is below the last readout, and labels of one do not pull at the other's energies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mollifield import contract

from ..config import TrainConfig
from ..data.batches import Graph, SeededBatches
from ..model.protocol import Potential
from ..predict import Evaluable
from .loading import TrainingData
from .readout import Readout, latent_length

_STREAM = 4


class Correction(Readout):
    """The difference between two reference methods, from the latent features."""

    def __init__(self, n_latent: int, seeds: Sequence[int], scale: float, dtype: torch.dtype) -> None:
        """`scale` in eV."""
        super().__init__(n_latent, 1, seeds, dtype)
        self.scale = scale

    def forward(self, latent: Tensor) -> Tensor:
        """`latent [M, N, L]` -> energies `[M, N]` float64, eV."""
        return super().forward(latent).squeeze(2).double() * self.scale


class Corrected:
    """A model whose energies of the atoms in `where [N]` (bool) are corrected, for `predict`."""

    def __init__(self, model: Evaluable, correction: Correction, where: Tensor) -> None:
        self.n_members, self.shared_trunk, self.dtype = model.n_members, model.shared_trunk, model.dtype
        self._model, self._correction, self._where = model, correction, where

    def __call__(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """As `protocol.Potential`."""
        outputs = dict(self._model(edge_vectors, edge_index, types))
        more = self._correction(outputs[contract.LATENT]) * self._where
        return outputs | {contract.ATOMIC_ENERGIES: outputs[contract.ATOMIC_ENERGIES] + more}


@dataclass(frozen=True)
class Beside:
    """The frames, and what a fit needs to learn from them."""

    graphs: Sequence[Graph]
    """With indices after the training's."""
    share: int
    """How many there are in each batch."""
    correction: Correction
    """What their method says more."""

    def batches(self, seed: int) -> SeededBatches:
        """Their part of each batch."""
        return SeededBatches(len(self.graphs), self.share, seed, stream=[_STREAM])


def beside_of(config: TrainConfig, data: TrainingData, model: Potential, seeds: Sequence[int]) -> Beside | None:
    """What `config.pretrain` asks for, for members of `model` with `seeds`; None where it asks for nothing."""
    if config.pretrain is None:
        return None
    size = config.optimiser.batch_size
    share = min(max(1, round(config.pretrain.share * size)), size - 1)
    n_latent = latent_length(model, data.training[0])
    return Beside(data.oracle, share, Correction(n_latent, seeds, data.statistics.force_scale, model.dtype))
