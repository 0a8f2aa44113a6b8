"""Errors of a model file on labelled frames, and the std that it states beside them."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield import MollifieldCalculator
from mollifield_train.cli import main
from mollifield_train.evaluate import evaluate_file
from mollifield_train.export import export
from mollifield_train.metrics import error_summary

from ..conftest import build_potential, ethanol


@pytest.fixture
def frames_file(tmp_path: Path) -> Path:
    images = []
    for seed in range(3):
        atoms = ethanol()
        atoms.rattle(0.02, seed=seed)
        atoms.calc = SinglePointCalculator(atoms, energy=-4200.0 - seed, forces=atoms.positions)
        images.append(atoms)
    ase.io.write(tmp_path / "frames.xyz", images, format="extxyz")
    return tmp_path / "frames.xyz"


@pytest.mark.parametrize("factors", [{}, {"force_std_factor": 2.0, "energy_std_factor": 3.0}])
def test_std_is_that_of_the_calculator(factors: dict[str, float], frames_file: Path, tmp_path: Path) -> None:
    """Calibrated, and with what lies outside of the training data, which these rattled frames do in part."""
    model = tmp_path / "model.pt"
    export(build_potential(torch.float64), model, [ethanol()], calibration=factors, training_frames=[ethanol()])
    summary = error_summary(evaluate_file(model, frames_file))
    calculator = MollifieldCalculator(model)
    images = ase.io.read(frames_file, ":")
    forces_std = np.concatenate([calculator.get_property("forces_std", atoms) for atoms in images])
    energy_std = np.array([calculator.get_property("energy_std", atoms) / len(atoms) for atoms in images])
    assert summary["forces_std_mev_per_A"] == pytest.approx(1000.0 * np.sqrt(np.mean(forces_std**2 / 3.0)))
    assert summary["energy_std_mev_per_atom"] == pytest.approx(1000.0 * np.sqrt(np.mean(energy_std**2)))


def test_a_single_member_states_no_std(frames_file: Path, tmp_path: Path) -> None:
    export(build_potential(torch.float64, n_members=1), tmp_path / "model.pt", [ethanol()])
    summary = error_summary(evaluate_file(tmp_path / "model.pt", frames_file))
    assert "forces_rmse_mev_per_A" in summary
    assert not any("_std_" in key for key in summary)


def test_commands_print_and_write(
    model_file: Path, frames_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors by group, in a picture and in numbers; a model differs from itself by nothing."""
    errors, picture = tmp_path / "errors.json", tmp_path / "parity.png"
    command = ["evaluate", str(model_file), str(frames_file), "--by", "file", "--largest", "1"]
    assert main([*command, "--json", str(errors), "--parity", str(picture)]) == 0
    said = capsys.readouterr().out
    found = json.loads(errors.read_text())
    summary = error_summary(evaluate_file(model_file, frames_file))
    assert found["errors"]["forces"]["rmse"] == pytest.approx(summary["forces_rmse_mev_per_A"])
    worst = found["largest"]["forces"][0]
    assert f"meV/Å in frame {worst['frame']} of {frames_file}, atom {worst['atom']} ({worst['symbol']}" in said
    assert picture.stat().st_size > 10_000
    assert main(["compare", str(model_file), str(model_file), str(frames_file), "--by", "composition"]) == 0
    said = capsys.readouterr().out
    assert said.count("no difference seen") == 10 and "is better" not in said  # two groups, three and two measures
    assert main(["evaluate", str(model_file), str(frames_file), "--by", "origin"]) == 2
    assert "--by origin: no frame has such a key; present are file, composition" in capsys.readouterr().err
