"""An architecture of one file, as somebody else would write it: a sum over pairs, without stages or tables."""

import math
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from mollifield_train.model.architecture import Architecture
from mollifield_train.model.base import ScaledPotential
from mollifield_train.model.config import ArchitectureConfig
from mollifield_train.model.radial import BesselBasis
from mollifield_train.model.samples import initialise


class PairConfig(ArchitectureConfig):
    """E_i = 1/2 sum_j f(type_i, type_j, r_ij)."""

    kind: Literal["pair"] = "pair"
    n_radial: PositiveInt = 4
    """Radial basis functions."""


class PairPotential(ScaledPotential):
    """f is linear in a radial basis; its latent features are the basis, summed over neighbours."""

    def __init__(self, architecture: Architecture[PairConfig]) -> None:
        super().__init__(architecture, n_layers=1)
        settings, n_species = architecture.settings, len(architecture.species)
        self.n_species = n_species
        self.basis = BesselBasis(settings.n_radial, settings.r_max, architecture.dtype)
        shape = (architecture.n_members, n_species * n_species, settings.n_radial)
        self.coefficients = nn.Parameter(torch.empty(shape, dtype=architecture.dtype))
        self.size = 0.5 / math.sqrt(settings.n_radial * max(architecture.average_neighbours, 1.0))
        initialise(self, 0)

    def forward(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        basis = self.basis(torch.linalg.vector_norm(edge_vectors, dim=-1))
        pairs = types[edge_index[0]] * self.n_species + types[edge_index[1]]
        energies = (basis * self.coefficients[:, pairs]).sum(-1) * self.size
        network = energies.new_zeros(energies.shape[0], types.shape[0]).index_add(1, edge_index[0], energies)
        latent = basis.new_zeros(basis.shape[0], types.shape[0], basis.shape[2]).index_add(1, edge_index[0], basis)
        return {"atomic_energies": self.scaled(network, types), "latent": latent.expand(self.n_members, -1, -1)}
