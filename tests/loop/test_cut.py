"""What is cut out of frames that are too large for the oracle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111

from mollifield import MollifieldCalculator
from mollifield_train.active import wiring
from mollifield_train.active.config import CutConfig
from mollifield_train.active.cut import CLUSTER, PERIODIC, cut_out
from mollifield_train.active.dataset import export_dataset
from mollifield_train.active.explore.config import DynamicsConfig
from mollifield_train.active.explore.trajectory import Exploration, Task, sound
from mollifield_train.active.parts import TrainTask
from mollifield_train.active.store import LABELLED, Store
from mollifield_train.config import TrainConfig
from mollifield_train.data.frames import read_frames
from mollifield_train.export import export
from tests.conftest import R_MAX, build_potential, ethanol
from tests.loop import stub_parts
from tests.loop.test_rounds import in_this_process, make_config, run

REACH = 2 * R_MAX
"""Å, of a force by a model of one layer: the energies of neighbours depend on theirs."""


@pytest.fixture(scope="module")
def calculator(tmp_path_factory: pytest.TempPathFactory) -> MollifieldCalculator:
    path = tmp_path_factory.mktemp("committee") / "model.pt"
    potential = build_potential(torch.float64, n_members=2, n_layers=1, n_channels=4)
    export(potential, path, [ethanol()], {"name": "test"}, splines=False)
    return MollifieldCalculator(path)


def forces(calculator: MollifieldCalculator, atoms: Atoms) -> np.ndarray:
    atoms = Atoms(atoms)
    atoms.calc = calculator
    return atoms.get_forces()


def diamond(n: int, a: float) -> Atoms:
    atoms = bulk("C", a=a, cubic=True) * (n, n, n)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_a_cluster_keeps_the_forces_in_its_middle(calculator: MollifieldCalculator) -> None:
    """Those that count are the whole's, as far as the model sees no farther than the buffer."""
    rng = np.random.default_rng(0)
    whole = bulk("C", "sc", a=2.9) * (8, 8, 8)
    whole.numbers = rng.choice([1, 6, 8], size=512)  # no two cells of it are alike
    whole.rattle(0.2, seed=0)
    settings = CutConfig(max_atoms=400, radius=3.3, buffer=REACH)
    cut = cut_out(whole, 150, settings, sound)
    assert cut.kind == CLUSTER and "no smaller periodic frame" in cut.warning
    mask = cut.atoms.arrays["forces_mask"]
    assert 1 < mask.sum() < len(cut.atoms) < 400
    inside = whole.get_distances(150, range(512), mic=True)
    order = [int(i) for i in np.argsort(inside) if inside[i] <= settings.radius]
    difference = forces(calculator, cut.atoms)[mask] - forces(calculator, whole)[order]
    assert np.abs(difference).max() < 1e-10
    assert not cut.atoms.pbc.any() and (np.ptp(cut.atoms.positions, axis=0) + 11.9 < cut.atoms.cell.lengths()).all()


def test_a_crystal_becomes_a_smaller_one(calculator: MollifieldCalculator) -> None:
    """The force on the uncertain atom is the same where half the smaller cell is longer than the model sees."""
    a = REACH + 0.4
    whole = diamond(4, a)
    cut = cut_out(whole, 77, CutConfig(max_atoms=100, radius=REACH), sound)
    assert (cut.kind, len(cut.atoms), cut.warning) == (PERIODIC, 64, "")
    np.testing.assert_allclose(cut.atoms.cell.array, whole.cell.array / 2)
    assert "forces_mask" not in cut.atoms.arrays
    difference = forces(calculator, cut.atoms)[0] - forces(calculator, whole)[77]
    assert np.abs(difference).max() < 1e-10


def copper(seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True) * (4, 4, 4)
    atoms.rattle(0.06, seed=seed)
    return atoms


def test_defects_near_the_atom_stay_and_others_do_not() -> None:
    settings = CutConfig(max_atoms=40, radius=3.0)
    whole = copper()
    distances = whole.get_distances(100, range(256), mic=True)
    near, far = int(np.argsort(distances)[1]), int(distances.argmax())
    for missing, n_atoms in ((near, 31), (far, 32)):
        atoms = whole.copy()
        centre = (
            Atoms(atoms)[[k for k in range(256) if k != missing]]
            .positions.tolist()
            .index(whole.positions[100].tolist())
        )
        del atoms[missing]
        cut = cut_out(atoms, centre, settings, sound)
        assert (cut.kind, len(cut.atoms)) == (PERIODIC, n_atoms)


@pytest.mark.parametrize(
    ("atoms", "max_atoms", "n_atoms"),
    [
        (fcc111("Cu", (6, 6, 3), vacuum=6.0), 40, 27),
        (bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (4, 4, 4), 70, 64),
        (bulk("Cu") * (6, 6, 6), 30, 27),
    ],
)
def test_slabs_compounds_and_skew_cells_stay_what_they_are(atoms: Atoms, max_atoms: int, n_atoms: int) -> None:
    atoms.rattle(0.03, seed=3)
    for centre in (0, len(atoms) // 2, len(atoms) - 1):
        cut = cut_out(atoms, centre, CutConfig(max_atoms=max_atoms, radius=2.6), sound)
        assert (cut.kind, len(cut.atoms)) == (PERIODIC, n_atoms)
        assert cut.atoms.pbc.tolist() == atoms.pbc.tolist()
        assert cut.atoms.numbers[0] == atoms.numbers[centre]
        ratio = np.unique(atoms.numbers, return_counts=True)[1] / len(atoms)
        np.testing.assert_allclose(np.unique(cut.atoms.numbers, return_counts=True)[1] / n_atoms, ratio)


def test_what_the_guard_refuses_is_not_taken() -> None:
    cut = cut_out(copper(), 100, CutConfig(max_atoms=60, radius=3.0, buffer=1.0), lambda atoms: "no")
    assert cut.kind == CLUSTER


def test_few_atoms_leave_a_thin_buffer_and_say_so() -> None:
    chain = Atoms("C40", [[1.5 * k, 0.0, 0.0] for k in range(40)])
    cut = cut_out(chain, 20, CutConfig(max_atoms=7, radius=4.0, buffer=3.0), sound)
    # The eighth atom is 6 Å away, so the forces within 3 Å have a whole buffer.
    assert cut.atoms.arrays["forces_mask"].sum() == 5 and "forces count within 3.00 Å" in cut.warning
    assert "the buffer ends" not in cut.warning
    cut = cut_out(chain, 20, CutConfig(max_atoms=3, radius=4.0, buffer=4.0), sound)
    assert cut.atoms.arrays["forces_mask"].tolist() == [True, False, False]
    assert "the buffer ends at 3.00 Å" in cut.warning


class NoTraining(Exception):
    """Instead of one."""


def no_training(config: TrainConfig, **more: Any) -> None:
    """Its files are there by now."""
    raise NoTraining


def test_the_loop_labels_what_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters of a torn-up crystal: masks reach the training file, energies do not, and no trajectory starts there."""
    in_this_process(monkeypatch)
    monkeypatch.setattr("mollifield_train.active.report.write_report", lambda *arguments: None)
    started = []

    def explore(task: Task, settings: DynamicsConfig) -> Exploration:
        started.append(len(task.start))
        return stub_parts.explore(task, settings)

    cut = {"max_atoms": 3, "radius": 2.0, "buffer": 2.0}
    config = make_config(tmp_path, rounds=2, cut=cut, arms={"active": {"kind": "most_uncertain"}})
    end = run(config, explore)[-1]
    assert end["n_new"] == end["n_cut"] == 6
    assert set(started) == {4}
    rows = Store(config.directory / "frames.db").frames(arm="active", status=LABELLED)
    assert all(len(row.atoms) == 3 and row.columns["cut_from"] == 4 for row in rows)
    folder = tmp_path / "training"
    task = TrainTask([row.atoms for row in rows], [], folder, folder / "model.pt", None)
    monkeypatch.setattr(wiring, "train", no_training)
    with pytest.raises(NoTraining):
        wiring.train_committee(task, config)
    exported = tmp_path / "set.extxyz"
    assert export_dataset(config.directory, exported, arm="active") == 8
    for path, n_whole in ((folder / "train.extxyz", 0), (exported, 2)):
        frames = read_frames([path])
        assert sum(frame.energy is not None for frame in frames) == n_whole
        assert sum(frame.forces_mask is not None for frame in frames) == 6
