"""Trainings that end after a time, in place of a number of epochs."""

import itertools

import pytest

from mollifield_train.config import N_EPOCHS
from mollifield_train.tensor_file import read_tensors
from mollifield_train.training.run import train, what_is_kept
from mollifield_train.training.run_directory import LAST_CHECKPOINT, FitFolder, RunDirectory
from mollifield_train.training.schedules import Clock

from .fitting import history, labelled_water, later_export, no_export, tiny_config, with_export  # noqa: F401  (fixtures)


@pytest.fixture(scope="module")
def images():
    return labelled_water(16)


@pytest.fixture
def seconds_pass(monkeypatch):
    """A clock that is a second later whenever somebody looks."""
    ticks = itertools.count()
    monkeypatch.setattr(Clock, "now", staticmethod(lambda: float(next(ticks))))


@pytest.mark.parametrize("way", ["together", "one_by_one"])
def test_minutes_in_place_of_epochs(tmp_path, images, seconds_pass, way):
    """The rate falls to its floor as the time runs out, in the middle of an epoch; then nothing is left."""
    config = tiny_config(
        tmp_path,
        images,
        optimiser={"epochs": N_EPOCHS, "minutes": 2.0, "learning_rate": 0.005},
        committee={"training": way},
    )
    result = train(config, progress=False)
    epochs = result.metrics["epochs"]
    assert all(1 < n < N_EPOCHS for n in epochs)
    folder = result.directory if way == "together" else result.directory / "members" / "1"
    last = history(folder)[-1]
    assert last["learning_rate"] == pytest.approx(0.01 * 0.005, rel=1e-6)
    assert "valid_forces_rmse_mev_per_A" in last
    seconds = read_tensors(folder / LAST_CHECKPOINT)["seconds"]
    assert 60.0 * 2.0 / len(epochs) <= seconds < 60.0 * 2.0 / len(epochs) + 40.0
    assert train(config, resume=True, progress=False).metrics["epochs"] == epochs


def test_a_continued_run_has_the_minutes_that_were_left(tmp_path, images, seconds_pass, monkeypatch):
    config = tiny_config(tmp_path, images, optimiser={"epochs": N_EPOCHS, "minutes": 2.0})
    folder = RunDirectory(config.directory).path
    keep, kept = FitFolder.keep_epoch, []

    def power_cut(self, state, rows):
        keep(self, state, rows)
        kept.append(state["seconds"])
        if len(kept) == 2:
            raise RuntimeError("power cut")

    monkeypatch.setattr(FitFolder, "keep_epoch", power_cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, progress=False)
    assert 0.0 < kept[1] < 120.0
    train(config, resume=True, progress=False)
    assert kept == sorted(kept)
    assert 120.0 <= read_tensors(folder / LAST_CHECKPOINT)["seconds"] < 160.0
    assert what_is_kept(config).startswith(f"epoch {len(kept)} of 2 minutes")
