"""`quantity interval`: conformal multiples of calibrated stds, as the file has them."""

import numpy as np
import pytest
import torch

from mollifield import MollifieldCalculator, load_artefact
from mollifield.artefact import save_calibrated
from mollifield_lammps import LammpsError

from ..conftest import sheared_crystal
from .committee import ATOL, FACTORS, start

MULTIPLES = [1.5, 2.0, 3.0]  # of H, C, O at 90%


@pytest.fixture(scope="module")
def model(write_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("interval") / "model.pt"
    knots = torch.tensor([[[0.5, 1.0], [0.9, multiple]] for multiple in MULTIPLES], dtype=torch.float64)
    save_calibrated(load_artefact(write_model(n_members=3, calibration=FACTORS)), path, {"force_interval": knots}, {})
    return path


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_both_engines_state_the_same(model, n_ranks, tmp_path):
    atoms = sheared_crystal() * (2, 1, 1)
    atoms.rattle(0.1, seed=3)
    commands = (
        "fix u all mollifield/uncertainty 1 quantity interval\nfix p all pair 1 mollifield force_interval 1\n"
        "thermo_style custom step f_u f_u[2]\nthermo_modify format float %.17g\ndump d all custom 1 d.dump id f_p\n"
        "dump_modify d sort id format float %.17g\nrun 1"
    )
    result, _ = start(tmp_path, atoms, model, commands, n_ranks)
    calculator = MollifieldCalculator(model)
    expected = calculator.get_property("forces_interval", atoms)
    stds = calculator.get_property("forces_std", atoms)
    types = [calculator.artefact.species.index(symbol) for symbol in atoms.symbols]
    np.testing.assert_allclose(expected, np.array(MULTIPLES)[types] * stds, rtol=1e-12)
    assert abs(result.thermo["f_u"][0] - expected.max()) < ATOL
    assert abs(result.thermo["f_u[2]"][0] - expected.mean()) < ATOL
    after = np.loadtxt((tmp_path / "d.dump").read_text().splitlines()[-len(atoms) :])[:, 1]
    assert after.max() == pytest.approx(result.thermo["f_u"][-1], rel=1e-6)


@pytest.mark.parametrize(
    "keywords, tables, message",
    [
        ("", {}, "needs a model file with intervals of 90%"),
        ("", {"force_interval": [[[0.5, 1.0]]] * 3}, "needs a model file with intervals of 90%"),
        ("calibrated no", {"force_interval": [[[0.9, 1.0]]] * 3}, "is of calibrated stds; 'calibrated' is no"),
    ],
)
def test_refused(write_model, keywords, tables, message, tmp_path):
    path = tmp_path / "model.pt"
    given = {key: torch.tensor(table, dtype=torch.float64) for key, table in tables.items()}
    save_calibrated(load_artefact(write_model(n_members=3, calibration=FACTORS)), path, given, {})
    with pytest.raises(LammpsError, match=message):
        start(
            tmp_path, sheared_crystal(), path, f"fix u all mollifield/uncertainty 1 quantity interval {keywords}\nrun 0"
        )
