"""The picture of a training: when it is drawn, and what it says."""

import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from mollifield_train.training import learning_curves
from mollifield_train.training.learning_curves import PICTURE, SHARE, LearningCurves
from mollifield_train.training.run import train
from mollifield_train.training.run_directory import Row

from .fitting import labelled_water, later_export, no_export, tiny_config  # noqa: F401  (fixtures)


def rows(n: int, seconds: float = 2.0) -> list[Row]:
    losses = {f"{part}_{key}": 0.0 for part in ("train", "valid") for key, _ in learning_curves.PANELS}
    return [
        dict.fromkeys(losses, 100.0 / k + 1.0) | {"epoch": k, "learning_rate": 0.005 / k, "seconds": seconds}
        for k in range(1, n + 1)
    ]


def test_time_left_counts_all_fits(tmp_path: Path) -> None:
    one = LearningCurves(tmp_path, ["all members"], 200, None)
    one.epoch(0, rows(50))
    assert one.seconds_left == pytest.approx(300.0)
    assert one.title == "epoch 50 of 200, 100 s so far, 5 min left"
    two = LearningCurves(tmp_path, ["a", "b", "c", "d"], 100, None, n_at_a_time=2)
    two.epoch(0, rows(60))
    two.epoch(1, rows(40))
    assert two.seconds_left == pytest.approx(2.0 * (40 + 60 + 100 + 100) / 2)
    two.over(1)  # out of patience
    assert two.seconds_left == pytest.approx(2.0 * (40 + 100 + 100) / 2)
    timed = LearningCurves(tmp_path, ["a", "b"], None, 120.0)
    timed.epoch(0, rows(20))
    assert timed.seconds_left == pytest.approx(80.0 + 120.0)
    assert timed.title == "epoch 20, 0, 40 s so far, 3 min left"
    for k in range(2):
        timed.over(k)
    assert timed.title.endswith("over")


def test_drawing_takes_its_share_of_the_time_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of the test's own: epochs of a second, pictures of 0.3."""
    now, drawn = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def draw(path: Path, *_: object) -> None:
        path.write_bytes(b"")
        drawn.append(now[0])
        now[0] += 0.3

    monkeypatch.setattr(learning_curves, "_draw", draw)
    curves = LearningCurves(tmp_path, ["all members"], 1000, None)
    for k in range(1, 1001):
        now[0] += 1.0
        curves.epoch(0, rows(1) * k)
    assert len(drawn) >= 25
    assert 0.3 * len(drawn) <= SHARE * now[0]
    assert drawn[0] <= 51.0 and max(np.diff(drawn)) < 40.0


def test_a_picture_of_a_run(tmp_path: Path) -> None:
    """All panels; and of a fit without validation, whose loss is zero, and another that has not begun."""
    full = LearningCurves(tmp_path, ["a", "b"], 100, None)
    full.epoch(0, rows(700))
    full.epoch(1, rows(3))
    full.draw()
    image = matplotlib.image.imread(tmp_path / PICTURE)
    poor = LearningCurves(tmp_path, ["a", "b"], 100, None)
    poor.draw()
    np.testing.assert_array_equal(matplotlib.image.imread(tmp_path / PICTURE), image)  # nothing to draw yet
    poor.epoch(0, [{"epoch": 1, "learning_rate": 0.1, "train_loss": 0.0, "seconds": 1.0}])
    poor.draw()
    other = matplotlib.image.imread(tmp_path / PICTURE)
    assert other.std() > 0.01 and other.shape[1] < image.shape[1]
    assert [path.name for path in tmp_path.iterdir()] == [PICTURE]


def test_a_training_that_is_watched_leaves_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a display, whatever backend is asked for."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    config = tiny_config(tmp_path, labelled_water(9), optimiser={"epochs": 2})
    train(config, progress=True)
    assert matplotlib.image.imread(tmp_path / "run" / PICTURE).std() > 0.01
