"""From the members' outputs to means, standard deviations and covariances.

A committee of M members samples the posterior; its spread is the *epistemic* uncertainty. Sample
statistics (ddof = 1) are used throughout; a committee of one has none, and says so. Where members agree
because nothing was ever taught (an atom whose surroundings no training atom resembles), the file's
latent space adds what the spread cannot know: `mollifield.contract`, LATENT_REACH. The noise of labels, *aleatoric*,
is no part of it: a file states it by species, or has a head that tells it atom by atom.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import contract
from .artefact import Artefact
from .calibration import Array
from .potential import Evaluation


@dataclass(frozen=True)
class Spread:
    """The epistemic uncertainty of one frame of N atoms, calibrated by the tables of the file."""

    energy_std: float
    """eV, of the total energy."""
    forces_cov: Array
    """[N, 3, 3], eV²/Å²; turns with the frame."""
    forces_std: Array
    """[N], eV/Å: sqrt of the trace of `forces_cov`."""
    outside: Array
    """[N], eV/Å: what `forces_std` holds, in quadrature, for being outside of the training data; 0 inside."""

    @property
    def epistemic_std(self) -> Array:
        """`forces_std`, by the name that tells it from the noise of labels."""
        return self.forces_std


def spread(artefact: Artefact, out: Evaluation) -> Spread:
    """From the members' outputs (`evaluate(..., members=True)`) to standard deviations.

    Raises `ValueError` for a model of one member.
    """
    calibration, types = artefact.calibration, out.types.cpu().numpy()
    outside = outside_std(artefact.latent_space, out.latent, out.types).cpu().numpy()
    energy = calibration.energy_std(float(energy_std(out.energies.cpu().numpy())), len(types))
    covariance = forces_covariance(out.forces.cpu().numpy())
    raw = forces_std(covariance)
    factors = np.divide(calibration.force_std(raw, types), raw, out=np.zeros_like(raw), where=raw > 0.0)
    covariance = covariance * factors[:, None, None] ** 2 + (outside**2 / 3.0)[:, None, None] * np.eye(3)
    return Spread(
        energy_std=float(np.sqrt(energy**2 + np.sum(outside**2))),
        forces_cov=covariance,
        forces_std=forces_std(covariance),
        outside=outside,
    )


@dataclass(frozen=True)
class Aleatoric:
    """The noise of the labels of one frame of N atoms."""

    energy_std: float
    """eV, of the total energy."""
    forces_cov: Array
    """[N, 3, 3], eV²/Å²; turns with the frame."""
    forces_std: Array
    """[N], eV/Å: sqrt of the trace of `forces_cov`."""


def aleatoric(artefact: Artefact, out: Evaluation) -> Aleatoric | None:
    """Of a noise head, the mean over trunks of what each says; else of the file's numbers. None where there are none.

    An evaluation without `members` is enough. With the spread it makes up the whole: by the law of total variance the
    covariances of both add up.
    """
    types = out.types.cpu().numpy()
    if artefact.has_noise_head:
        features = out.latent if out.noise_features is None else out.noise_features
        with torch.no_grad():
            found = artefact.module.noise(features, out.types, out.forces.mean(0))
        variance = float(found[contract.ENERGY_NOISE].mean(0).sum())
        covariance = found[contract.FORCE_NOISE].mean(0).cpu().numpy()
        return Aleatoric(variance**0.5, covariance, forces_std(covariance))
    calibration = artefact.calibration
    if calibration.force_noise is None:
        return None
    stds = calibration.force_noise[types]
    covariance = (stds**2 / 3.0)[:, None, None] * np.eye(3)
    return Aleatoric(calibration.energy_noise * len(types), covariance, stds)


def require_committee(n_members: int) -> None:
    """Raise `ValueError` when there is no spread to speak of."""
    if n_members < 2:
        raise ValueError("a standard deviation needs a committee of at least 2 members; this model has 1")


def energy_std(energies: Array) -> Array:
    """`energies [M, ...]` (eV) -> sample standard deviation over members `[...]` (eV)."""
    require_committee(len(energies))
    return np.std(energies, axis=0, ddof=1)


def forces_covariance(forces: Array) -> Array:
    """`forces [M, N, 3]` (eV/Å) -> 3x3 sample covariance of each atom `[N, 3, 3]` (eV²/Å²).

    C_i = 1/(M-1) sum_m (F_mi - F_i)(F_mi - F_i)^T, which turns with the frame: R C R^T.
    """
    require_committee(len(forces))
    deviation = forces - forces.mean(axis=0)
    return np.einsum("mia,mib->iab", deviation, deviation) / (len(forces) - 1)


def forces_std(covariance: Array) -> Array:
    """`[N, 3, 3]` -> sqrt(trace) of each `[N]` (eV/Å), the invariant size of the spread."""
    return np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))


def latent_features(latent_space: dict[str, Tensor], latent: Tensor) -> Tensor:
    """`latent [T, N, L]` -> scaled features `[N, T * L]` float64 of `mollifield.contract`."""
    features = latent.to(torch.float64).permute(1, 0, 2).flatten(1)
    if contract.LATENT_SCALE not in latent_space:
        return features / features.shape[1] ** 0.5
    return features * latent_space[contract.LATENT_SCALE].to(features.device)


def latent_distance(latent_space: dict[str, Tensor], latent: Tensor, types: Tensor) -> Tensor:
    """`latent [T, N, L]` and `types [N]` -> `[N]` distances to the nearest training atom of the species.

    Infinite for a species without references. Raises `ValueError` for a model without any.
    """
    if contract.LATENT_REFERENCES not in latent_space:
        raise ValueError("this model file has no latent references; export it again with its training frames")
    features = latent_features(latent_space, latent)
    references = latent_space[contract.LATENT_REFERENCES].to(features)
    types, known = types.to(features.device), latent_space[contract.LATENT_TYPES].to(features.device)
    found = torch.full((len(features),), torch.inf, dtype=features.dtype, device=features.device)
    for species in known.unique():
        rows = types == species
        # Without the matrix product, which loses the digits of small distances.
        distances = torch.cdist(
            features[rows], references[known == species], compute_mode="donot_use_mm_for_euclid_dist"
        )
        found[rows] = distances.amin(dim=1)
    return found


def outside_std(latent_space: dict[str, Tensor], latent: Tensor, types: Tensor) -> Tensor:
    """`latent [T, N, L]` and `types [N]` -> `[N]` eV/Å, the f of LATENT_REACH in `mollifield.contract`.

    Zero inside of the training data, and in files that do not state their reach.
    """
    if contract.LATENT_REACH not in latent_space:
        return torch.zeros(latent.shape[1], dtype=torch.float64, device=latent.device)
    distance = latent_distance(latent_space, latent, types)
    reach = latent_space[contract.LATENT_REACH].to(distance)[types.to(distance.device)]
    scale = latent_space[contract.LATENT_FORCE_SCALE].to(distance)
    excess = torch.where(reach.isfinite(), distance / reach - 1.0, 0.0)
    return scale * excess.clamp(min=0.0).square().clamp(max=contract.OUTSIDE_LIMIT)
