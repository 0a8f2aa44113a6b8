"""From the members' outputs to means, standard deviations and covariances.

A committee of M members samples the posterior; its spread is the *epistemic* uncertainty. Sample
statistics (ddof = 1) are used throughout; a committee of one has none, and says so.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import contract


def require_committee(n_members: int) -> None:
    """Raise `ValueError` when there is no spread to speak of."""
    if n_members < 2:
        raise ValueError("a standard deviation needs a committee of at least 2 members; this model has 1")


def energy_std(energies: NDArray) -> NDArray:
    """``energies [M, ...]`` (eV) -> sample standard deviation over members ``[...]`` (eV)."""
    require_committee(len(energies))
    return np.std(energies, axis=0, ddof=1)


def forces_covariance(forces: NDArray) -> NDArray:
    """``forces [M, N, 3]`` (eV/Å) -> 3x3 sample covariance of each atom ``[N, 3, 3]`` (eV²/Å²).

    C_i = 1/(M-1) sum_m (F_mi - F_i)(F_mi - F_i)^T, which turns with the frame: R C R^T.
    """
    require_committee(len(forces))
    deviation = forces - forces.mean(axis=0)
    return np.einsum("mia,mib->iab", deviation, deviation) / (len(forces) - 1)


def forces_std(covariance: NDArray) -> NDArray:
    """``[N, 3, 3]`` -> sqrt(trace) of each ``[N]`` (eV/Å), the invariant size of the spread."""
    return np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))


def latent_features(latent_space: dict[str, Tensor], latent: Tensor) -> Tensor:
    """``latent [M, N, L]`` -> scaled features ``[N, M * L]`` float64 of `mollifield.contract`."""
    features = latent.to(torch.float64).permute(1, 0, 2).flatten(1)
    if contract.LATENT_SCALE not in latent_space:
        return features / features.shape[1] ** 0.5
    return features * latent_space[contract.LATENT_SCALE].to(features.device)


def latent_distance(latent_space: dict[str, Tensor], latent: Tensor, types: Tensor) -> Tensor:
    """``latent [M, N, L]`` and ``types [N]`` -> ``[N]`` distances to the nearest training atom of the species.

    Infinite for a species without references. Raises `ValueError` for a model without any.
    """
    if contract.LATENT_REFERENCES not in latent_space:
        raise ValueError("this model file has no latent references; export it again with its training frames")
    features = latent_features(latent_space, latent)
    references = latent_space[contract.LATENT_REFERENCES].to(features)
    distances = (features[:, None] - references[None]).norm(dim=-1)
    other = types.to(features.device)[:, None] != latent_space[contract.LATENT_TYPES].to(features.device)[None]
    return distances.masked_fill(other, torch.inf).amin(dim=1)
