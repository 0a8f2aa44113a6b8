"""Far from the training data: floors, outside and undetermined compositions are what the Python engine says."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms

from mollifield import MollifieldCalculator, contract
from mollifield.uncertainty import spread
from mollifield_lammps import RunResult
from mollifield_train.export import export

from ..conftest import build_potential, ethanol, sheared_crystal
from .committee import ATOL, start
from .conftest import artefact_of, python_answer

FLOORS = {
    contract.FORCE_STD: [[[0.5, 1.0]], [[0.5, 0.8]], [[0.5, 0.7]]],
    contract.FORCE_FLOOR: [[[0.5, 0.1], [2.0, 0.5]], [[0.5, 0.2], [2.0, 0.4]], [[0.5, 0.3], [2.0, 0.6]]],
    contract.ENERGY_FLOOR: [[[0.3, 0.01]]],
}


def shaken(n: int) -> list[Atoms]:
    frames = [ethanol() for _ in range(n)] + [sheared_crystal() for _ in range(n)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.05, seed=seed)
    return frames


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Without and with floors; of both, ethanol and the crystal leave one direction of compositions undetermined."""
    folder, potential = tmp_path_factory.mktemp("far"), build_potential(torch.float64)
    counts = [np.array([list(frame.symbols).count(s) for s in potential.species], float) for frame in shaken(1)]
    unseen = torch.tensor(5.0 * np.cross(*counts) / np.linalg.norm(np.cross(*counts)))[None]
    tables = {name: torch.tensor(knots, dtype=torch.float64) for name, knots in FLOORS.items()}
    paths = [folder / "plain.pt", folder / "floors.pt"]
    for path, found in zip(paths, ({}, tables), strict=True):
        export(
            *(potential, path, [ethanol()]),
            calibration=found,
            training_frames=shaken(12),
            undetermined_compositions=unseen,
        )
    return paths


def torn() -> Atoms:
    """Three cells of the crystal, one of them without an atom, one with an atom far from its place."""
    atoms = sheared_crystal() * (3, 1, 1)
    atoms.rattle(0.03, seed=1)
    atoms.positions[2] += [0.4, 0.3, 0.0]
    del atoms[-1]
    return atoms


def run(folder: Path, atoms: Atoms, model: Path, n_ranks: int, keywords: str = "") -> RunResult:
    commands = (
        f"fix u all mollifield/uncertainty 1 {keywords}\nfix p all pair 1 mollifield relative_distance 1\n"
        "thermo_style custom step f_u f_u[4] f_u[9]\nthermo_modify format float %.17g\n"
        "dump d all custom 1 d.dump id f_u[1] f_u[4] f_p\ndump_modify d sort id format float %.17g\nrun 0"
    )
    return start(folder, atoms, model, commands, n_ranks)[0]


@pytest.mark.parametrize("n_ranks", [1, 2, 4])
def test_both_engines_state_the_same(models: list[Path], n_ranks: int, tmp_path: Path) -> None:
    atoms, model = torn(), models[1]
    result = run(tmp_path, atoms, model, n_ranks, "file far.extxyz quantity outside select 1.0")
    expected = spread(artefact_of(model), python_answer(model, atoms))
    outside = expected.distance > 1.0
    assert 0 < outside.sum() < len(atoms) and expected.composition_std > 0.1
    assert abs(result.thermo["f_u"][0] - expected.distance.max()) < ATOL
    assert abs(result.thermo["f_u[4]"][0] - expected.energy_std / len(atoms)) < ATOL
    assert result.thermo["f_u[9]"][0] == outside.sum()
    columns = np.loadtxt(tmp_path / "d.dump", skiprows=9)[:, 1:]
    np.testing.assert_allclose(columns[:, 0], expected.forces_std, rtol=0, atol=ATOL)
    np.testing.assert_allclose(columns[:, 1], expected.distance, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(columns[:, 1], columns[:, 2])
    text = (tmp_path / "log.lammps").read_text()
    assert f"step 0: outside, {outside.sum()} atom(s) resemble none of the training data" in text
    assert text.count("energies are outside: the training data do not determine those of this composition") == 1
    frame = ase.io.read(tmp_path / "far.extxyz")
    assert frame.info["n_outside"] == outside.sum() and frame.calc.results["energy_outside"]


def test_floors_are_in_the_stds_and_not_in_the_bias(models: list[Path], tmp_path: Path) -> None:
    """The bias is a function of the members' energies alone, so that its force is its gradient."""
    atoms = sheared_crystal()
    atoms.rattle(0.1, seed=3)
    before, after = (MollifieldCalculator(path).get_property("forces_std", atoms) for path in models)
    artefact = artefact_of(models[1])
    found = spread(artefact, python_answer(models[1], atoms))
    types = python_answer(models[1], atoms).types.numpy()
    floor = artefact.calibration.force_floor_std(found.distance, types)
    raw = np.sqrt(before**2 - found.outside**2)
    factor = np.array([2.0, 1.6, 1.4])[types]
    np.testing.assert_allclose(after**2, (factor * raw) ** 2 + found.outside**2 + floor**2, rtol=1e-9)
    assert (floor > 0.01).all()
    energies = []
    for number, model in enumerate(models):
        commands = "fix u all mollifield/uncertainty 1 bias 0.5\nfix_modify u energy yes\ncompute e all pe pair fix\n"
        commands += "thermo_style custom step pe f_u\nthermo_modify format float %.17g\nrun 0"
        energies.append(start(tmp_path / str(number), atoms, model, commands)[0].thermo["PotEng"][0])
    assert energies[0] == pytest.approx(energies[1], abs=ATOL)


def test_an_inside_frame_says_nothing(models: list[Path], tmp_path: Path) -> None:
    result = run(tmp_path, shaken(12)[3], models[1], 1)
    assert result.thermo["f_u[9]"][0] == 0.0
    assert "outside" not in (tmp_path / "log.lammps").read_text().replace("mollifield/uncertainty", "")
