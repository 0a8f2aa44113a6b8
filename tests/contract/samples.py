"""Samples on one trunk for tests, and the same models each by itself."""

import copy

import torch

from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.model.protocol import Potential
from mollifield_train.model.samples import one_member

from ..conftest import build_potential


def trunk(dtype: torch.dtype = torch.float64, **settings: object) -> EquivariantPotential:
    """What samples are made of: one member."""
    return build_potential(dtype, 1, **{"zbl": True, "correlation": 2, "messages": "scattered"} | settings)


def sampled_potential(n_samples: int = 4, dtype: torch.dtype = torch.float64, **settings: object) -> Potential:
    """Samples that differ by a few per cent."""
    model = trunk(dtype, **settings)
    weights = model.last_layer_weights()
    generator = torch.Generator().manual_seed(5)
    size = 0.3 * weights.square().mean().sqrt()
    return model.sampled(
        weights + size * torch.randn(n_samples, len(weights), generator=generator, dtype=torch.float64)
    )


def separately(samples: Potential) -> list[Potential]:
    """Each sample as a model of its own: whole members, whose geometry, trunk and gradients are nobody else's."""
    return [copy.deepcopy(one_member(samples, m)) for m in range(samples.n_members)]
