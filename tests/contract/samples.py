"""Samples on one trunk for tests, and the same models each by itself."""

import copy

import torch

from mollifield.gradients import Basis
from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.model.protocol import Potential
from mollifield_train.model.samples import one_member
from mollifield_train.uncertainty.draws import affine_basis, antithetic

from ..conftest import build_potential


def trunk(dtype: torch.dtype = torch.float64, **settings: object) -> EquivariantPotential:
    """What samples are made of: one member."""
    return build_potential(dtype, 1, **{"zbl": True, "correlation": 2, "messages": "scattered"} | settings)


def sampled_potential(n_samples: int = 4, dtype: torch.dtype = torch.float64, **settings: object) -> Potential:
    """Samples that differ by a few per cent, none of which follows from others."""
    return _sampled(trunk(dtype, **settings), n_samples, pairs=False)[0]


def paired_samples(n_samples: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Potential, Basis]:
    """Pairs about one mean, and the basis of which they are made."""
    model, weights = _sampled(trunk(dtype), n_samples, pairs=True)
    basis = affine_basis(weights)
    assert basis is not None
    return model, basis


def _sampled(model: EquivariantPotential, n_samples: int, pairs: bool) -> tuple[Potential, torch.Tensor]:
    weights = model.last_layer_weights()
    generator = torch.Generator().manual_seed(5)
    size = 0.3 * weights.square().mean().sqrt()
    n_drawn = n_samples // 2 if pairs else n_samples
    drawn = size * torch.randn(n_drawn, len(weights), generator=generator, dtype=torch.float64)
    drawn = weights + (antithetic(drawn) if pairs else drawn)
    return model.sampled(drawn), drawn


def separately(samples: Potential) -> list[Potential]:
    """Each sample as a model of its own: whole members, whose geometry, trunk and gradients are nobody else's."""
    return [copy.deepcopy(one_member(samples, m)) for m in range(samples.n_members)]
