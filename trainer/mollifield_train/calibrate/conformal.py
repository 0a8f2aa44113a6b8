"""Intervals that hold errors as often as they say, whatever the errors' distribution."""

import numpy as np
from numpy.typing import NDArray

from mollifield.calibration import Array

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
"""Parts of errors that intervals are stored for, as far as there are frames."""


def conformal(scores: Array, frame: NDArray[np.int64]) -> Array:
    """`scores [n]`, errors over stds, of values in frames `frame [n]` -> knots `[K, 2]`: (level, multiple of the std).

    Split conformal prediction for values in groups (Lee, Barber and Willett, J. R. Stat. Soc. B, qkae101 (2024), HCP):
    each of the n frames, and a further one with infinite errors, has the weight 1/(n + 1), which its values share. A
    value of a frame that is drawn as these were then lies within with at least that probability. Levels beyond
    n/(n + 1) have no finite interval and are left out; the multiples rise strictly, by rounding where they must.
    """
    _, which, n_values = np.unique(frame, return_inverse=True, return_counts=True)
    weights = 1.0 / (n_values[which] * (len(n_values) + 1.0))
    order = np.argsort(scores, kind="stable")
    held, rising = np.cumsum(weights[order]), scores[order]
    knots: list[tuple[float, float]] = []
    for level in LEVELS:
        place = int(np.searchsorted(held, level - 1e-12))
        if place == len(held):
            break
        least = np.nextafter(knots[-1][1], np.inf) if knots else np.finfo(float).tiny
        knots.append((level, max(float(rising[place]), float(least))))
    return np.array(knots).reshape(-1, 2)
