"""How well what a committee states goes with the errors that it makes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

from ..metrics import MILLI, FrameErrors, coverage, ratio, rmse

WITHIN = {"energy": 0.683, "forces": 0.608}
"""Part of normal errors, and of lengths of normal vectors with three like components, that is below the std."""
N_BINS = 10
N_LEAST = 10
"""Values of a bin, at least."""


def observed(frames: Sequence[FrameErrors], quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Stated stds [n] and errors [n]: of forces lengths for each atom (eV/Å), of energies sizes (eV/atom).

    The energies' common offset is no error here. Both are empty for a single member.
    """
    stds, errors = [np.zeros(0)], [np.zeros(0)]
    for frame in frames:
        found = frame.deviations(quantity)
        if found is None:
            continue
        mean = found.mean(axis=0)
        if quantity == "forces" and frame.forces_variance is not None:
            stds.append(np.sqrt(frame.forces_variance[frame.frame.labelled_atoms].sum(axis=1)))
            errors.append(np.linalg.norm(mean.reshape(-1, 3), axis=1))
        elif quantity == "energy" and frame.energy_std is not None:
            stds.append(np.array([frame.energy_std / frame.n_atoms]))
            errors.append(mean)
    std, error = np.concatenate(stds), np.concatenate(errors)
    if quantity == "energy" and len(error):
        error = np.abs(error - error.mean())
    return std[std > 0.0], error[std > 0.0]


def calibration(frames: Sequence[FrameErrors]) -> dict[str, dict[str, Any]]:
    """Of 'energy' and 'forces': root mean square of error/std, part of errors below their std, rank correlation, bins.

    Nothing for a single member, or fewer than `N_LEAST` values.
    """
    table = {}
    for quantity, expected in WITHIN.items():
        stds, errors = observed(frames, quantity)
        if len(stds) < N_LEAST:
            continue
        table[quantity] = {
            "n": len(stds),
            "rms_error_over_std": ratio(errors, stds),
            "within_std": coverage(errors, stds),
            "within_std_if_normal": expected,
            "rank_correlation": float(scipy.stats.spearmanr(stds, errors).statistic),
            "bins": bins(stds, errors),
        }
    return table


def bins(stds: np.ndarray, errors: np.ndarray) -> list[dict[str, float]]:
    """Equally many values each, by rising std: root mean squares of stds and errors (milli), equal where they fit."""
    order = np.argsort(stds)
    parts = np.array_split(order, max(1, min(N_BINS, len(stds) // N_LEAST)))
    return [
        {"n": len(part), "std": MILLI * rmse(stds[part]), "rms_error": MILLI * rmse(errors[part])} for part in parts
    ]
