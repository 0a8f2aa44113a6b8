"""Noise heads for tests: untrained ones, of any size, that say something else of every atom."""

import torch

from mollifield_train.model.noise_head import NoiseHead
from mollifield_train.model.protocol import Potential
from mollifield_train.uncertainty.noise.head import N_HIDDEN

from ..conftest import build_potential


def noise_head(n_trunks: int, n_latent: int = 8, l_max: int = 2, seed: int = 3) -> NoiseHead:
    """Of three species; stds of a tenth of an eV/Å, more or less by a factor of a few, and far from isotropic."""
    head = NoiseHead(n_trunks, 3, n_latent, l_max, N_HIDDEN)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2.0)
    head.log_force_variance.fill_(-5.0)
    head.log_energy_variance.fill_(-7.0)
    return head.requires_grad_(False)


def committee(**settings: object) -> Potential:
    """Whose forces are not so large that all the invariants are cut off."""
    potential = build_potential(torch.float64, 3, **settings)
    with torch.no_grad():
        potential.readout.weight_2.mul_(0.02)
    return potential
