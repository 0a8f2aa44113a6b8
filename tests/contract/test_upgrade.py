"""Old files, written again in the present format: the same model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mollifield import MollifieldCalculator, contract, load_artefact
from mollifield.artefact import save_calibrated
from mollifield.upgrade import upgrade
from mollifield_lammps import write_data
from mollifield_train.cli import main

from ..conftest import sheared_crystal
from ..lammps_runner import run_deck
from .test_contract import FILES

OLD = FILES / "version-1-float64.pt"
PROPERTIES = ("energy", "forces", "stress", "energy_std", "forces_std", "forces_cov")

DECK = """units metal
atom_modify map yes
box tilt large
read_data atoms.data
pair_style mollifield
pair_coeff * * {path} H C O
fix u all mollifield/uncertainty 1
thermo_style custom step pe pxy f_u
thermo_modify format float %.17g
run 0
"""


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upgrade") / "new.pt"
    upgrade(OLD, path)
    return path


def test_python_gets_the_same_numbers(upgraded: Path) -> None:
    old, new = MollifieldCalculator(OLD), MollifieldCalculator(upgraded)
    for member in (None, 0, 1):
        for name in PROPERTIES if member is None else PROPERTIES[:3]:
            both = [
                (calculator if member is None else calculator.member(member)).get_property(name, sheared_crystal())
                for calculator in (old, new)
            ]
            np.testing.assert_allclose(both[1], both[0], rtol=1e-12, atol=1e-12, err_msg=f"{name} {member}")


def test_lammps_gets_the_same_numbers(upgraded: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "atoms.data", sheared_crystal(), ["H", "C", "O"])
    old, new = (run_deck(DECK.format(path=path), tmp_path).thermo for path in (OLD, upgraded))
    for name in ("PotEng", "Pxy", "f_u"):
        np.testing.assert_allclose(new[name], old[name], rtol=1e-11)


def test_it_is_a_file_of_the_present_format(upgraded: Path, tmp_path: Path) -> None:
    """With tables that a calibration may replace, which the old one has not."""
    old, new = load_artefact(OLD), load_artefact(upgraded)
    assert new.format_version == contract.SEPARATE_VERSION
    assert new.calibration.described() == old.calibration.described()
    assert new.labels is None and old.labels is None
    assert new.summary == old.summary | {"upgraded_from_format": 1}
    for key, value in old.latent_space.items():
        assert torch.equal(new.latent_space[key], value)
    doubled = {contract.ENERGY_STD: torch.tensor([[[1.0, 2.0]]], dtype=torch.float64)}
    save_calibrated(new, tmp_path / "calibrated.pt", doubled, {})
    assert "energy std x [2.]" in load_artefact(tmp_path / "calibrated.pt").calibration.described()


def test_the_command_keeps_the_old_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(OLD.read_bytes())
    assert main(["upgrade", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {path}, format version 2"
    assert (tmp_path / "model.pt.old").read_bytes() == OLD.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pt", "model.pt.old"]
    # A second time there is nothing to do, and nothing is touched.
    assert main(["upgrade", str(path)]) == 2
    assert "there is nothing to upgrade" in capsys.readouterr().err
    assert load_artefact(path).format_version == 2


@pytest.mark.parametrize("version", [2, 3])
def test_what_needs_no_upgrade_is_refused(version: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"format version {version}, which this release reads and writes"):
        upgrade(FILES / f"version-{version}-float64.pt", tmp_path / "new.pt")
    assert not list(tmp_path.iterdir())
