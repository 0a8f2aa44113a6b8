"""`mollifield property` and its Python door, by a file whose members are multiples of one pair potential."""

import dataclasses
import json
import pickle
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from mollifield import MollifieldCalculator
from mollifield.properties import PROPERTIES, EquationOfState, samples_of
from mollifield_train.cli import main
from mollifield_train.export import export
from mollifield_train.model.architecture import Architecture

from ..physics.pair_architecture import PairConfig, PairPotential

MULTIPLES = (0.98, 1.0, 1.02)
STD = 0.02
"""Of the multiples."""
FACTOR = 2.0
QUICK = ["n_volumes=5", "strain=0.02"]


def copper() -> Atoms:
    return bulk("Cu", a=3.6)


def pair_potential(multiples: tuple[float, ...]) -> PairPotential:
    """Members with a well of 0.2 eV at 2.6 Å, a Morse curve's as well as the basis has it, times these numbers."""
    settings = PairConfig(r_max=4.0, n_radial=8)
    potential = PairPotential(Architecture(settings, ("Cu",), 18.0, (-3.0,), 1.0, len(multiples), torch.float64))
    lengths = torch.linspace(2.2, 3.99, 60, dtype=torch.float64)
    well = 0.2 * ((1.0 - torch.exp(-1.8 * (lengths - 2.6))) ** 2 - 1.0)
    basis = potential.basis(lengths[None])[0] * potential.size
    with torch.no_grad():
        potential.coefficients.copy_(torch.linalg.lstsq(basis, 0.5 * well[:, None]).solution[:, 0])
        potential.energy_scale.copy_(torch.tensor(multiples, dtype=torch.float64)[:, None])
    return potential


def written(folder: Path, multiples: tuple[float, ...] = MULTIPLES, factor: float = FACTOR) -> Path:
    """A calibrated file that was taught crystals from 0.97 to 1.03 of the lattice constant."""
    path = folder / "model.pt"
    frames = []
    for k, scale in enumerate(np.linspace(0.97, 1.03, 13)):
        atoms = copper() * (2, 1, 1)
        atoms.set_cell(scale * atoms.cell, scale_atoms=True)
        atoms.rattle(0.02, seed=k)
        frames.append(atoms)
    calibration = {"force_std_factor": factor, "energy_std_factor": 5.0}
    export(pair_potential(multiples), path, [frames[0]], calibration=calibration, training_frames=frames)
    return path


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    path = tmp_path / "copper.cif"
    ase.io.write(path, copper())
    return path


def test_command(committee: Path, structure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The std of the bulk modulus is that of the multiples times the calibration's factor of forces."""
    folder = tmp_path / "found"
    command = ["property", "eos", str(committee), str(structure), "-o", str(folder)]
    assert main([*command, "--set", *QUICK]) == 0
    found = json.loads((folder / "eos.json").read_text())
    modulus = found["quantities"]["B"]
    assert modulus["std"] == pytest.approx(FACTOR * STD * modulus["value"], rel=1e-4)
    assert found["calibration_factors"] == pytest.approx({"forces": FACTOR, "energy": 5.0})
    assert (found["n_members"], found["settings"]["n_volumes"]) == (3, 5)
    assert (folder / "eos.png").stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["value", "±", "(90%)", "std", "unit"]
    (row,) = [line for line in lines if line.startswith("  B ")]
    assert row.split()[-1] == "GPa"
    assert "error bars of 3 members, times 2 (forces), 5 (energy) by the calibration" in lines

    assert main([*command, "--set", *QUICK, "--tolerance", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.startswith("  B ")]
    assert row.endswith("not to be believed")
    (row,) = [line for line in lines if line.startswith("  a ")]
    assert not row.endswith("not to be believed")


def test_far_from_the_training_data_nothing_is_believed(committee: Path, tmp_path: Path) -> None:
    """The members agree as well as ever; the file's references do not know such crystals."""
    samples = samples_of(MollifieldCalculator(committee))
    near = EquationOfState(n_volumes=5, strain=0.02).measure(samples, [copper()])
    far = EquationOfState(n_volumes=5, strain=0.3).measure(samples, [copper()])
    assert not near.doubts and near.believed("a")
    assert "no training atom resembles" in far.doubts[0] and not far.believed("a")


def test_one_member(tmp_path: Path, structure: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, (1.0,))
    command = ["property", "eos", str(path), str(structure), "-o", str(tmp_path), "--set", *QUICK]
    assert main(command) == 2
    assert "mollifield posterior" in capsys.readouterr().err
    assert main([*command, "--no-error-bar"]) == 0
    assert "±" not in capsys.readouterr().out
    assert json.loads((tmp_path / "eos.json").read_text())["quantities"]["B"]["interval"] is None


@pytest.mark.parametrize(
    "words, message",
    [
        (["oes"], "no property 'oes'; there are: eos (lattice constant"),
        (["eos", "--set", "volumes=5"], "no setting 'volumes=5' of eos; there are, with their defaults: strain=0.06"),
        (["eos", "--set", "n_volumes=five"], "n_volumes=five; allowed is a value such as 11"),
        (["eos", "--set", "n_volumes=3"], "n_volumes = 3"),
    ],
)
def test_mistakes(
    words: list[str], message: str, committee: Path, structure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = words
    assert main(["property", name, str(committee), str(structure), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_file_without_structure_is_named(committee: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.cif").write_text("nothing")
    assert main(["property", "eos", str(committee), str(tmp_path / "broken.cif")]) == 2
    assert "broken.cif: no structure" in capsys.readouterr().err


def test_calculator_of_a_member(committee: Path) -> None:
    """It is that member's, also after a pickle; the committee's own results stay."""
    whole, atoms = MollifieldCalculator(committee), copper()
    mean = whole.get_potential_energy(atoms)
    member = whole.member(2)
    expected = -3.0 + MULTIPLES[2] * (mean + 3.0)
    assert member.get_potential_energy(atoms) == pytest.approx(expected)
    assert pickle.loads(pickle.dumps(member)).get_potential_energy(atoms) == pytest.approx(expected)
    assert whole.get_potential_energy(atoms) == pytest.approx(mean)
    with pytest.raises(ValueError, match="has no member 3"):
        whole.member(3)


def test_every_property_says_what_it_is_and_what_its_settings_mean() -> None:
    for kind in PROPERTIES.values():
        assert kind.text and kind.__doc__
        assert all(field.metadata["text"] for field in dataclasses.fields(kind))
