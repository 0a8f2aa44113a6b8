"""Stds that grow with the distance to the training data: the fit of the floor, and what engines make of its tables."""

import numpy as np
import pytest

from mollifield.calibration import Calibration, interpolated
from mollifield_train.calibrate import MAPS
from mollifield_train.calibrate.floor import with_floor


@pytest.mark.parametrize("kind", MAPS)
def test_both_parts_are_found(kind: str) -> None:
    """Errors of lengths with the variances (2 raw)^2 and (0.5 u^2)^2, which are as large as each other here."""
    rng = np.random.default_rng(3)
    raw, distance = rng.uniform(0.05, 0.2, 8000), rng.uniform(0.2, 0.9, 8000)
    true = np.hypot(2.0 * raw, 0.5 * distance**2)
    errors = np.linalg.norm(rng.standard_normal((8000, 3)), axis=1) * true / np.sqrt(3.0)
    knots, floor = with_floor(raw, distance**2, errors, MAPS[kind])
    assert floor[0, 1] == pytest.approx(0.5, rel=0.1)
    found = np.hypot(interpolated(knots, raw), interpolated(floor, distance**2))
    assert np.sqrt(np.mean((found / true - 1.0) ** 2)) < 0.05
    alone = interpolated(MAPS[kind](raw, errors), raw)
    assert np.sqrt(np.mean((alone / true - 1.0) ** 2)) > 0.15


def test_no_floor_where_the_distance_says_nothing() -> None:
    rng = np.random.default_rng(4)
    raw, distance = rng.uniform(0.05, 0.2, 8000), rng.uniform(0.2, 0.9, 8000)
    errors = np.linalg.norm(rng.standard_normal((8000, 3)), axis=1) * 2.0 * raw / np.sqrt(3.0)
    knots, floor = with_floor(raw, distance**2, errors, MAPS["factor"])
    assert knots[0, 1] == pytest.approx(2.0, rel=0.05)
    assert floor[0, 1] < 1e-6


def test_tables_of_a_floor() -> None:
    """By species, quadratic beyond the last knot; of energies by the mean square."""
    knots = np.array([[[0.25, 0.1], [1.0, 1.0]], [[1.0, 2.0], [2.0, 4.0]]])
    tables = Calibration(force_floor=knots, energy_floor=np.array([[[1.0, 0.01]]]))
    distance, types = np.array([0.5, 2.0, 0.5, 3.0]), np.array([0, 0, 1, 1])
    np.testing.assert_allclose(tables.force_floor_std(distance, types), [0.1, 4.0, 0.5, 18.0])
    assert tables.energy_floor_std(distance) == pytest.approx(4 * 0.01 * np.mean(distance**2))
    assert not Calibration().force_floor_std(distance, types).any() and Calibration().energy_floor_std(distance) == 0.0
