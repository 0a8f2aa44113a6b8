"""Numbers by which stds are judged, and intervals that hold as many errors as they say."""

import numpy as np
import pytest
import scipy.stats

from mollifield_train.calibrate.conformal import LEVELS, conformal
from mollifield_train.calibrate.quality import quality

N = 20_000


def test_right_stds_are_right() -> None:
    rng = np.random.default_rng(0)
    stds = rng.uniform(0.05, 2.0, N)
    found = quality(stds, stds[:, None] / np.sqrt(3.0) * rng.standard_normal((N, 3)))
    assert found["z_std"] == pytest.approx(1.0, abs=0.01)
    assert found["z_mean"] == pytest.approx(0.0, abs=0.02)
    assert found["z_kurtosis"] == pytest.approx(0.0, abs=0.1)
    assert found["z_beyond_3"] == pytest.approx(0.0027, abs=0.001)
    assert found["miscalibration_area"] < 0.005
    assert found["spearman"] > 0.6
    # What normal densities of these widths have on average.
    component = stds / np.sqrt(3.0)
    assert found["nll"] == pytest.approx(np.mean(np.log(component) + 0.5 + 0.5 * np.log(2.0 * np.pi)), abs=0.02)
    assert found["crps"] == pytest.approx(np.mean(component) / np.sqrt(np.pi), rel=0.02)


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_wrong_stds_are_worse(factor: float) -> None:
    rng = np.random.default_rng(1)
    stds = rng.uniform(0.05, 2.0, (N, 1))
    errors = stds * rng.standard_normal((N, 1))
    right, wrong = quality(stds[:, 0], errors), quality(factor * stds[:, 0], errors)
    for name in ("nll", "crps", "miscalibration_area"):
        assert wrong[name] > right[name]
    assert wrong["z_std"] == pytest.approx(1.0 / factor, rel=0.02)
    assert wrong["spearman"] == right["spearman"]  # ranks know no factor


def test_sparsification_of_the_best_order_is_zero() -> None:
    errors = np.random.default_rng(2).standard_normal((500, 1))
    assert quality(np.abs(errors[:, 0]), errors)["sparsification"] == 0.0
    assert quality(1.0 / np.abs(errors[:, 0]), errors)["sparsification"] > 0.3


def test_crps_is_the_integral() -> None:
    """Of the squared difference between the stated and the empirical distribution function."""
    std, error = 0.7, 0.4
    x = np.linspace(-10.0, 10.0, 200_001)
    expected = np.trapezoid((scipy.stats.norm.cdf(x / std) - (x >= error)) ** 2, x)
    assert quality(np.array([std]), np.array([[error]]))["crps"] == pytest.approx(expected, rel=1e-4)


def test_levels_need_frames() -> None:
    scores = np.arange(1.0, 10.0)
    found = conformal(scores, np.arange(9))
    np.testing.assert_allclose(found, [[0.5, 5.0], [0.68, 7.0], [0.8, 8.0], [0.9, 9.0]])
    assert np.all(np.diff(conformal(np.ones(500), np.arange(500)), axis=0) > 0.0)


@pytest.mark.parametrize("per_frame", [1, 12])
def test_intervals_hold_for_new_frames(per_frame: int) -> None:
    """Errors that are alike within a frame and heavy-tailed: on average over draws no level is missed."""
    rng = np.random.default_rng(3)

    def drawn(n_frames: int) -> np.ndarray:
        size = rng.exponential(1.0, (n_frames, 1)) * np.abs(rng.standard_t(3, (n_frames, per_frame)))
        return size.ravel()

    n_frames, held = 25, []
    for _ in range(1000):
        knots = conformal(drawn(n_frames), np.repeat(np.arange(n_frames), per_frame))
        held.append(np.mean(drawn(200)[:, None] <= knots[:, 1], axis=0))
    for level, found in zip(LEVELS, np.mean(held, axis=0), strict=False):
        assert level - 0.01 <= found <= level + 1.0 / (n_frames + 1.0) + 0.02
