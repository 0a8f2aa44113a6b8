"""The posterior of the last layer's weights, in closed form: a linear regression on what the trained trunk gives.

Weights are written as their distance v from the trained ones. Rows phi of the regression are those of `features`, each
divided by the std of its label's noise, and so are their residuals y. With the precision

    H = prior + sum phi^T phi,        prior = alpha 1,

weights are distributed as N(v_mean, H^-1) (Laplace; prediction rigidity: Bigi et al., Mach. Learn.: Sci. Technol. 5,
045018 (2024)). After a training v_mean is 0. Further frames move both by the rules of a Kalman filter, which do not ask
in what order they come:

    H' = H + sum phi^T phi,        H' v_mean' = H v_mean + sum phi^T y.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .draws import square_root
from .features import FrameFeatures

ENERGY_NOISE_FLOOR = 1e-5
"""eV/atom: of labels that a model meets exactly."""
FORCE_NOISE_FLOOR = 1e-4
"""eV/Å, the length of a force."""
N_LEAST = 30
"""Forces of a species below which it gets the noise of all."""
N_ITERATIONS = 200


@dataclass(frozen=True)
class Noise:
    """What labels and this model never agree on, taken for noise; as `mollifield.contract` has it."""

    energy: float
    """eV/atom: std of a total energy, divided by the number of atoms."""
    forces: Tensor
    """[n_species] float64, eV/Å: sqrt(trace) of the covariance of a force."""


@dataclass(frozen=True)
class Posterior:
    """N(mean, precision^-1) of the distance from the trained weights; F of them, float64."""

    precision: Tensor
    """[F, F]."""
    mean: Tensor
    """[F]."""
    noise: Noise
    prior: float
    """alpha."""

    def covariance_root(self) -> Tensor:
        """`[F, F]`, the symmetric square root of H^-1, which changes little where H does."""
        return torch.linalg.inv(square_root(self.precision))


def noise_of(found: Sequence[FrameFeatures], n_species: int) -> Noise:
    """From residuals of the trained model: root mean squares, of forces for each species.

    Raises ValueError where no frame has forces. Without energies, theirs is the force's times 1 Å.
    """
    residuals = [frame.forces_residual for frame in found if frame.forces_residual is not None]
    if not residuals:
        raise ValueError("no frame has forces: the noise of their labels, and of energies, is told from them")
    types = torch.cat([frame.types for frame in found if frame.forces_residual is not None])
    of_energies = [frame.energy_residual / len(frame.types) for frame in found if frame.energy_residual is not None]
    energies = torch.tensor(of_energies, dtype=torch.float64).square()
    return noise_from(torch.cat(residuals).square().sum(dim=1), types, energies, n_species)


def noise_from(forces: Tensor, types: Tensor, energies: Tensor, n_species: int) -> Noise:
    """Roots of means of variances: `forces [n]` (eV²/Å²) of atoms of `types [n]`, `energies [k]` ((eV/atom)²)."""
    found = torch.full((n_species,), float(forces.mean()), dtype=torch.float64)
    for species in range(n_species):
        own = forces[types == species]
        if len(own) >= N_LEAST:
            found[species] = own.mean()
    found = found.clamp(min=FORCE_NOISE_FLOOR**2).sqrt()
    if len(energies) == 0:
        return Noise(float(found.mean()), found)
    return Noise(max(float(energies.mean()), ENERGY_NOISE_FLOOR**2) ** 0.5, found)


def points_of(found: Sequence[FrameFeatures], noise: Noise) -> Iterator[tuple[Tensor, Tensor]]:
    """Labels of one sort of a frame at a time, an energy or the atoms' forces: n of them, with k numbers each.

    Rows `[n, k, F]` and residuals `[n, k]`, both over the noise.
    """
    for frame in found:
        if frame.energy_residual is not None:
            std = noise.energy * len(frame.types)
            residual = torch.tensor([[frame.energy_residual]], dtype=torch.float64)
            yield frame.energy[None, None] / std, residual / std
        if frame.forces_residual is not None:
            std_of_atoms = noise.forces[frame.types] / 3.0**0.5  # of one component
            yield frame.forces / std_of_atoms[:, None, None], frame.forces_residual / std_of_atoms[:, None]


def information(found: Sequence[FrameFeatures], noise: Noise, n_features: int) -> tuple[Tensor, Tensor]:
    """What frames say: `[F, F]` sum of phi^T phi, and `[F]` sum of phi^T y."""
    matrix = torch.zeros(n_features, n_features, dtype=torch.float64)
    vector = torch.zeros(n_features, dtype=torch.float64)
    for rows, residuals in points_of(found, noise):
        rows = rows.flatten(0, 1)
        matrix += rows.T @ rows
        vector += rows.T @ residuals.flatten()
    return matrix, vector


def evidence_prior(data: Tensor, weights: Tensor) -> float:
    """alpha for which the evidence is largest at these weights `[F]`, given the data's part of the precision `[F, F]`.

    alpha = gamma / |w|^2 with gamma = sum_k lambda_k / (lambda_k + alpha), the number of weights that the data
    determine (MacKay, Neural Comput. 4, 415 (1992)).
    """
    eigenvalues = torch.linalg.eigvalsh(data).clamp(min=0.0)
    size = max(float(weights.square().sum()), 1e-12)
    alpha = len(weights) / size
    for _ in range(N_ITERATIONS):
        determined = float((eigenvalues / (eigenvalues + alpha)).sum())
        alpha = max(determined, 1e-6) / size
    return alpha


def posterior_of(found: Sequence[FrameFeatures], noise: Noise, weights: Tensor) -> Posterior:
    """After a training that ended with `weights [F]`, on frames of which `found` are all, or stand for all."""
    data, _ = information(found, noise, len(weights))
    alpha = evidence_prior(data, weights)
    precision = data + alpha * torch.eye(len(weights), dtype=torch.float64)
    return Posterior(precision, torch.zeros_like(weights), noise, alpha)


def updated(posterior: Posterior, found: Sequence[FrameFeatures]) -> Posterior:
    """With further frames; see above."""
    matrix, vector = information(found, posterior.noise, len(posterior.mean))
    precision = posterior.precision + matrix
    mean = torch.linalg.solve(precision, posterior.precision @ posterior.mean + vector)
    return Posterior(precision, mean, posterior.noise, posterior.prior)
