"""From the members' outputs to means, standard deviations and covariances.

A committee of M members samples the posterior; its spread is the *epistemic* uncertainty. Sample
statistics (ddof = 1) are used throughout; a committee of one has none, and says so.
"""

import numpy as np
from numpy.typing import NDArray


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
