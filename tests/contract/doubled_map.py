"""A calibration map that nobody needs: twice the raw std, whatever the errors."""

import numpy as np

from mollifield.calibration import Array


def doubled(raw: Array, errors: Array) -> Array:
    """One knot."""
    return np.array([[1.0, 2.0]])
