"""What stds hold for the distance to the training data: a second map beside that of the raw std, in quadrature."""

from collections.abc import Callable

import numpy as np

from mollifield.calibration import Array, interpolated

from .factor import factor

N_STEPS = 100
"""Of the fit, which ends earlier where nothing moves any more."""
NO_FLOOR = 1e-9
"""eV/Å, eV/atom: of a species whose errors a floor makes no likelier. Knots are positive."""
SETTLED = 1e-3
"""Relative change of the floor in a step."""


def with_floor(raw: Array, squares: Array, errors: Array, fit: Callable[[Array, Array], Array]) -> tuple[Array, Array]:
    """`raw [n]`, `squares [n]` of relative distances and `errors [n]` -> knots by `fit`, and the knot of a floor.

    An error is taken for the sum of two normal parts: one of the std that `fit` finds for the raw std, and one that
    grows with the square of the distance, so that beyond the frames of the calibration it goes on as `outside` begins.
    Both are likeliest together, by expectation maximisation (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1
    (1977)): in turn, the expected squares of the parts given their sum, and the maps that fit these.
    """
    without = fit(raw, errors), np.array([[1.0, NO_FLOOR]])
    far = squares > 0.0
    if not far.any():
        return without
    knots = fit(raw, np.sqrt(0.5) * errors)
    floor = np.array([[1.0, np.sqrt(0.5 * np.mean(errors[far] ** 2) / np.mean(squares[far] ** 2))]])
    for _ in range(N_STEPS):
        near_variance, far_variance = interpolated(knots, raw) ** 2, interpolated(floor, squares) ** 2
        share = near_variance / (near_variance + far_variance)
        near = share**2 * errors**2 + share * far_variance
        beyond = (1.0 - share) ** 2 * errors**2 + share * far_variance
        before, knots, floor = floor[0, 1], fit(raw, np.sqrt(near)), factor(squares[far], np.sqrt(beyond[far]))
        if abs(floor[0, 1] - before) < SETTLED * before:
            break
    return min((knots, floor), without, key=lambda maps: _surprise(maps[0], maps[1], raw, squares, errors))


def _surprise(knots: Array, floor: Array, raw: Array, squares: Array, errors: Array) -> float:
    """Minus twice the log likelihood of a component of the errors, but for a constant."""
    variance = interpolated(knots, raw) ** 2 + interpolated(floor, squares) ** 2
    return float(np.mean(np.log(variance) + errors**2 / variance))
