"""Dropout of whole irreps, by scaled weights: masks that are drawn anew at every step, and some for the exported file.

A linear map that reads a feature x_k of an atom with weights W_k has W_k m_k in its place, m_k = 0 with the
probability p and 1/(1 - p) else. An irrep has one m for all its components, and a pass one for all atoms, so that every
pass is a model of the same architecture, as equivariant and as smooth as any, and no engine need know of it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..model.protocol import Droppable, LastLayered, Potential
from ..model.samples import member_state, rebuilt
from ..predict import Evaluable
from ..uncertainty_config import DropoutConfig

_STEPS, _PASSES = 5, 6  # streams of random numbers


class Dropout:
    """The masks of a model's members, each by its own of `seeds`."""

    def __init__(self, config: DropoutConfig, model: Potential, seeds: Sequence[int]) -> None:
        """Raises ValueError for an architecture that does not say which inputs its weights read."""
        if not isinstance(model, Droppable):
            raise ValueError(
                f"'uncertainty.kinds': architecture '{model.architecture.settings.kind}' knows no mc_dropout"
            )
        self.config = config
        self._seeds = seeds
        self._inputs = model.inputs_of_weights(everywhere=config.where == "everywhere")
        self._sizes = [int(inputs.max()) + 1 for inputs in self._inputs.values()]

    def masked(self, model: Potential, step: int) -> Evaluable:
        """The model as it is at a step of training; its weights stay those of the model."""
        n_inputs, seeds = sum(self._sizes), self._seeds
        numbers = [np.random.default_rng([*self._seed(seed, _STEPS), step]).random(n_inputs) for seed in seeds]
        return _Masked(model, self._factors(np.stack(numbers)))

    def passes(self, model: Potential) -> Potential:
        """A model whose members are `passes` of the first one with masks of their own, then those of the second, ...

        Passes of a single member that differ in its readout alone share its trunk. An input is left out in p P of P
        passes, to the next whole number: in each with the probability p still, and the mean of the passes is nearer to
        the whole model.
        """
        n_passes = self.config.passes
        numbers = []
        for seed in self._seeds:
            rng = np.random.default_rng(self._seed(seed, _PASSES))
            strata = rng.permuted(np.tile(np.arange(n_passes)[:, None], sum(self._sizes)), axis=0)
            numbers.append((strata + rng.random(strata.shape)) / n_passes)
        copies = self._copies(model)
        state = member_state(copies)
        for name, factor in self._factors(np.concatenate(numbers)).items():
            state[name].mul_(factor.view_as(state[name]))
        return copies

    def _copies(self, model: Potential) -> Potential:
        """Each member as many times as it has passes."""
        n_passes = self.config.passes
        if model.n_members == 1 and self.config.where == "readout" and isinstance(model, LastLayered):
            return model.sampled(model.last_layer_weights().expand(n_passes, -1))
        state = {name: tensor.repeat_interleave(n_passes, dim=0) for name, tensor in member_state(model).items()}
        return rebuilt(model, state, n_members=model.n_members * n_passes)

    def _seed(self, member: int, stream: int) -> list[int]:
        return [member, stream, self.config.seed]

    def _factors(self, numbers: np.ndarray) -> dict[str, Tensor]:
        """Numbers `[M, inputs]`, uniform from 0 to 1 -> factors `[M, n]` of each tensor's numbers."""
        p = self.config.probability
        kept = torch.from_numpy((numbers >= p) / (1.0 - p))
        return {
            name: mask.index_select(1, inputs)
            for (name, inputs), mask in zip(self._inputs.items(), kept.split(self._sizes, dim=1), strict=True)
        }


class _Masked:
    """A model with some of its weights multiplied, for `predict`."""

    def __init__(self, model: Any, factors: dict[str, Tensor]) -> None:
        self.n_members, self.shared_trunk, self.dtype = model.n_members, model.shared_trunk, model.dtype
        self._model: nn.Module = model
        self._factors = factors

    def __call__(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """As `protocol.Potential`."""
        weights = dict(self._model.named_parameters())
        masked = {name: weights[name] * f.view_as(weights[name]).to(weights[name]) for name, f in self._factors.items()}
        outputs: dict[str, Tensor] = functional_call(self._model, masked, (edge_vectors, edge_index, types))
        return outputs
