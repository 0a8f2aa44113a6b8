"""A round's model is calibrated on the frames that its training was validated with."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from mollifield import load_artefact
from mollifield_train.active.calibrations import HEAD, about_calibrations, calibrated_rows, picture
from mollifield_train.active.config import LoopConfig, check_same_run
from mollifield_train.active.parts import CALIBRATION_FILE, TrainTask
from mollifield_train.active.wiring import train_committee
from mollifield_train.durable import read_json

N_VALID = 12


def ethanol(seed: int) -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=seed)
    atoms.calc = EMT()
    atoms.get_forces()
    return atoms


def config(folder: Path, calibrate_from: int | None) -> LoopConfig:
    training = {
        "model": {"l_max": 0, "n_layers": 1, "n_channels": 4, "radial_hidden": [8], "r_max": 3.5},
        "committee": {"n_members": 2},
        "optimiser": {"epochs": 2},
        "calibrate_from": calibrate_from,
    }
    return LoopConfig(directory=folder, frames=folder / "frames.extxyz", training=training)


def task(folder: Path) -> TrainTask:
    valid = [ethanol(100 + seed) for seed in range(N_VALID)]
    return TrainTask([ethanol(seed) for seed in range(8)], valid, folder / "training", folder / "model.pt", None)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrated")
    train_committee(task(folder), config(folder, N_VALID))
    return folder


def test_the_rounds_model_has_tables_and_the_trainings_own_has_none(calibrated: Path) -> None:
    found = load_artefact(calibrated / "model.pt")
    assert found.calibration.force_knots is not None and found.calibration.force_floor is not None
    assert found.calibration.levels()
    assert load_artefact(calibrated / "training" / "model.pt").calibration.force_knots is None
    stated = read_json(calibrated / "training" / CALIBRATION_FILE)
    assert stated["frames"] == N_VALID and stated["forces"] == found.summary["calibration"]["forces"]


def test_a_kill_before_the_model_appears_changes_nothing(calibrated: Path) -> None:
    before = load_artefact(calibrated / "model.pt").calibration
    stated = (calibrated / "training" / CALIBRATION_FILE).read_text()
    (calibrated / "model.pt").unlink()
    train_committee(task(calibrated), config(calibrated, N_VALID))
    after = load_artefact(calibrated / "model.pt").calibration
    np.testing.assert_array_equal(after.force_knots, before.force_knots)
    np.testing.assert_array_equal(after.force_floor, before.force_floor)
    assert (calibrated / "training" / CALIBRATION_FILE).read_text() == stated


@pytest.mark.parametrize("least", [N_VALID + 1, None])
def test_not_with_too_few_frames(least: int | None, tmp_path: Path) -> None:
    train_committee(task(tmp_path), config(tmp_path, least))
    assert load_artefact(tmp_path / "model.pt").calibration.force_knots is None
    assert not (tmp_path / "training" / CALIBRATION_FILE).exists()


def test_frames_that_are_too_small_are_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mollifield_train.calibrate.fitting.N_LEAST", 1000)
    train_committee(task(tmp_path), config(tmp_path, N_VALID))
    assert (tmp_path / "model.pt").exists()
    assert "not calibrated: " in capsys.readouterr().out


def test_runs_of_earlier_releases_go_on(tmp_path: Path) -> None:
    now = config(tmp_path, 20).model_dump(mode="json")
    before = now | {"training": {key: value for key, value in now["training"].items() if key != "calibrate_from"}}
    check_same_run(before, now, tmp_path)


def test_the_report_says_it(calibrated: Path) -> None:
    stated = read_json(calibrated / "training" / CALIBRATION_FILE)
    rows = calibrated_rows([{"arm": "active", "round": 0}, {"arm": "active", "round": 1, "calibration": stated}])
    assert len(rows) == 1 and len(rows[0]) == len(HEAD)
    assert rows[0][:4] == ["active", "1", str(N_VALID), f"{stated['forces']['before']['z_std']:.2f}"]
    assert "was calibrated on the validation frames" in about_calibrations(len(rows), 20)
    assert "no round had 20 validation frames" in about_calibrations(0, 20)
    assert "is null" in about_calibrations(0, None)
    assert picture(calibrated / "training", "last").count("data:image/png;base64,") == 1
    assert picture(calibrated, "last") == ""
