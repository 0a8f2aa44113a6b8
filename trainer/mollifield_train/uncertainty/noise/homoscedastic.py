"""The same noise everywhere: of the forces on each species, and of energies by the atom."""

from ..last_layer import Noise, noise_from
from .residuals import Residuals


def homoscedastic(residuals: Residuals) -> Noise:
    """Mean squares of the residuals, less the variance that the members' spread states already."""
    forces = residuals.forces.square().sum(dim=1) - residuals.forces_spread.diagonal(dim1=1, dim2=2).sum(dim=1)
    energies = (residuals.energies.square() - residuals.energies_spread) / residuals.sizes.square()
    return noise_from(forces, residuals.types, energies[residuals.has_energy], residuals.n_species)
