"""Calibration maps: what they fit, and that a file with their tables states the right stds."""

import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

import mollifield_train.calibrate
from mollifield import MollifieldCalculator, load_artefact
from mollifield.calibration import interpolated
from mollifield_train.calibrate import MAPS
from mollifield_train.calibrate.fitting import calibrate_file
from mollifield_train.cli import main
from mollifield_train.export import export

from ..conftest import build_potential, ethanol

OVERCONFIDENT = 2.5
FILES = Path(__file__).with_name("files")


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("committee") / "model.pt"
    export(build_potential(torch.float64), path, [ethanol()], {"name": "test"})
    return path


@pytest.fixture(scope="module")
def labelled(committee: Path) -> Path:
    """80 frames with labels that differ from the mean by normal errors, `OVERCONFIDENT` times the raw std."""
    rng = np.random.default_rng(5)
    calculator = MollifieldCalculator(committee)
    images = []
    for seed in range(80):
        atoms = ethanol()
        atoms.rattle(0.05, seed=seed)
        std = calculator.get_property("forces_std", atoms)[:, None] / np.sqrt(3.0)
        forces = calculator.results["forces"] + OVERCONFIDENT * std * rng.standard_normal((9, 3))
        energy = calculator.results["energy"] + OVERCONFIDENT * calculator.results["energy_std"] * rng.standard_normal()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        images.append(atoms)
    path = committee.with_name("labelled.xyz")
    ase.io.write(path, images, format="extxyz")
    return path


def errors_of(std: np.ndarray, seed: int) -> np.ndarray:
    return std * np.abs(np.random.default_rng(seed).standard_normal(len(std)))


@pytest.mark.parametrize("kind", MAPS)
def test_a_factor_is_found(kind: str) -> None:
    raw = np.random.default_rng(1).uniform(0.01, 1.0, 6000)
    found = interpolated(MAPS[kind](raw, errors_of(3.0 * raw, 2)), raw)
    assert np.median(found / raw) == pytest.approx(3.0, rel=0.05)


def test_isotonic_finds_what_no_factor_can() -> None:
    """Stds that are right below 0.3 and four times too small above."""
    raw = np.random.default_rng(1).uniform(0.01, 1.0, 6000)
    true = np.where(raw < 0.3, raw, 4.0 * raw)
    errors = errors_of(true, 3)
    low = raw < 0.25
    ratios = {kind: true[low] / interpolated(MAPS[kind](raw, errors), raw)[low] for kind in ("isotonic", "factor")}
    assert np.sqrt(np.mean(ratios["isotonic"] ** 2)) == pytest.approx(1.0, abs=0.15)
    assert np.sqrt(np.mean(ratios["factor"] ** 2)) < 0.4


@pytest.mark.parametrize("kind", MAPS)
def test_a_calibrated_file_states_the_errors(kind: str, committee: Path, labelled: Path, tmp_path: Path) -> None:
    scores = calibrate_file(committee, labelled, tmp_path / "model.pt", kind).scores
    assert {name: len(found.stds) for name, found in scores.items()} == {"forces": 80 * 9, "energy": 80}
    for found in scores.values():
        assert found.before["z_std"] == pytest.approx(OVERCONFIDENT, rel=0.15)
        assert found.after["z_std"] == pytest.approx(1.0, abs=0.15)
        for better in ("nll", "crps", "miscalibration_area"):
            assert found.after[better] < found.before[better]
        assert found.within_interval == pytest.approx(0.9, abs=0.07)
    atoms = ethanol()
    raw, calibrated = (
        MollifieldCalculator(path).get_property("forces_std", atoms) for path in (committee, tmp_path / "model.pt")
    )
    assert np.median(calibrated / raw) == pytest.approx(OVERCONFIDENT, rel=0.2)
    assert load_artefact(tmp_path / "model.pt").summary["calibration"]["map"] == kind


def test_what_is_not_fitted_stays(labelled: Path, tmp_path: Path) -> None:
    """Noise of the labels, and with too few energies their table."""
    stated = {"energy_std_factor": 7.0, "energy_noise_std": 0.5, "force_noise_std": 0.25}
    model, frames, output = tmp_path / "model.pt", tmp_path / "few.xyz", tmp_path / "out.pt"
    export(build_potential(torch.float64), model, [ethanol()], calibration=stated)
    ase.io.write(frames, ase.io.read(labelled, ":20"), format="extxyz")
    assert set(calibrate_file(model, frames, output).scores) == {"forces"}
    before, after = load_artefact(model).calibration, load_artefact(output).calibration
    assert before.force_knots is None and after.force_knots is not None
    np.testing.assert_array_equal(after.energy_knots, before.energy_knots)
    np.testing.assert_array_equal(after.force_noise, [0.25] * 3)
    assert after.energy_noise == 0.5


def test_another_map_takes_a_file_and_a_line(
    committee: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(Path(__file__).with_name("doubled_map.py"), tmp_path / "doubled_map.py")
    monkeypatch.syspath_prepend(tmp_path)
    from doubled_map import doubled

    monkeypatch.setitem(mollifield_train.calibrate.MAPS, "doubled", doubled)
    output = tmp_path / "doubled.pt"
    assert main(["calibrate", str(committee), str(labelled), "--map", "doubled", "-o", str(output)]) == 0
    assert f"written: {output}, {output.with_suffix('.png')}" in capsys.readouterr().out
    assert output.with_suffix(".png").stat().st_size > 10_000
    raw, found = (MollifieldCalculator(path).get_property("forces_std", ethanol()) for path in (committee, output))
    np.testing.assert_allclose(found, 2.0 * raw, rtol=1e-12)


@pytest.mark.parametrize(
    "kind, model, message",
    [
        ("factr", None, "calibration map 'factr' isn't known; known are factor, isotonic"),
        ("factor", FILES / "version-1-float64.pt", "format version 1 has no calibration tables"),
    ],
)
def test_refused(kind: str, model: Path | None, message: str, committee: Path, labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        calibrate_file(model or committee, labelled, tmp_path / "never.pt", kind)
    assert not (tmp_path / "never.pt").exists()
