"""The rising function that fits best."""

from itertools import pairwise

import numpy as np
from scipy.optimize import isotonic_regression

from mollifield.calibration import Array

N_IN_A_BIN = 30
"""Values at least; a variance of 30 normal errors is known to a quarter."""
N_BINS = 20
"""At most."""


def isotonic(raw: Array, errors: Array) -> Array:
    """`raw [n]`, `errors [n]` -> a knot for each step of the isotonic regression of squared errors on `raw`.

    In bins of equally many values, so that a step does not follow single errors (Barlow and Brunk, J. Am. Stat. Assoc.
    67, 140 (1972); bins as in the reliability diagrams of Levi et al., Sensors 22, 5540 (2022)).
    """
    n_bins = int(np.clip(len(raw) // N_IN_A_BIN, 1, N_BINS))
    bins = np.array_split(np.argsort(raw, kind="stable"), n_bins)
    x = np.array([np.sqrt(np.mean(raw[rows] ** 2)) for rows in bins])
    found = isotonic_regression(
        [np.mean(errors[rows] ** 2) for rows in bins], weights=[len(rows) for rows in bins], increasing=True
    )
    knots = [[np.mean(x[begin:end]), np.sqrt(found.x[begin])] for begin, end in pairwise(found.blocks)]
    return np.array([knot for knot in knots if knot[1] > 0.0])
