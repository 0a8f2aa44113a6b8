"""A head start: hot frames by a cheap method, kept as they come, and learnt beside the given ones."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mollifield_train.config import PretrainConfig, TrainConfig, validated
from mollifield_train.data.batches import SeededBatches, SharedBatches
from mollifield_train.data.frames import Frame, frames_from_atoms
from mollifield_train.oracle import make_calculator
from mollifield_train.pretrain import frames as frames_module
from mollifield_train.pretrain import hot
from mollifield_train.pretrain.frames import labelled_before, oracle_frames
from mollifield_train.pretrain.hot import hot_trajectory
from mollifield_train.pretrain.pulled import pulled
from mollifield_train.tensor_file import read_tensors
from mollifield_train.training.lightning_fit import CommitteeFit
from mollifield_train.training.run import _data_and_model, train
from mollifield_train.training.run_directory import LAST_CHECKPOINT

from .fitting import history, labelled_water, later_export, no_export, power_cut, tiny_config  # noqa: F401  (fixtures)
from .springs import ZERO, Springs

SPRINGS = {"kind": "ase", "calculator": "tests.unit.springs.Springs"}


@pytest.fixture(autouse=True)
def no_processes(request, monkeypatch):
    """Starting workers takes a second; what they do is the subject of tests/loop/test_workers.py."""
    if "with_processes" not in request.fixturenames:
        monkeypatch.setattr(frames_module, "oracle_workers", lambda config, folder: ThreadPoolExecutor)


@pytest.fixture
def with_processes():
    """Workers are processes."""


@pytest.fixture(scope="module")
def images() -> list[Atoms]:
    return labelled_water(16)


def settings(**values: object) -> PretrainConfig:
    return validated(PretrainConfig, {"oracle": SPRINGS, "frames": 60, "temperature": [300.0, 900.0]} | values, "test")


def given(images: list[Atoms]) -> list[Frame]:
    return frames_from_atoms(images, "memory")


def test_energies_have_the_zero_of_the_given_labels(tmp_path, images):
    """The oracle is the labels' method here, but for its zero; so its frames must be the method's own."""
    made = oracle_frames(settings(), 0, given(images), tmp_path)
    assert len(made.frames) == 60
    for frame in made.frames:
        atoms = Atoms(frame.numbers, frame.positions, calculator=Springs())
        assert frame.energy == pytest.approx(atoms.get_potential_energy() - ZERO[8] - 2.0 * ZERO[1], abs=1e-9)
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), rtol=0, atol=1e-12)
    assert len({frame.content for frame in made.frames} | {frame.content for frame in given(images)}) == 60 + 16
    assert made.notes[0].startswith("pretrain: 60 frames by tests.unit.springs.Springs from 3 trajectories at 300 to ")


def test_frames_have_their_temperature(images):
    """Whatever the masses: three springs have 3/2 k_B T on average."""
    found = hot_trajectory(images[0].copy(), 600, 600.0, settings().oracle, [0])
    energies = np.array(found.energies[100:]) + 10.0 - ZERO[8] - 2.0 * ZERO[1]
    assert 0.7 < energies.mean() / (1.5 * 8.617e-5 * 600.0) < 1.4


def test_temperatures_cover_their_range(images):
    """One in each third of it, for three trajectories."""
    for seed in range(5):
        found = sorted(task.temperature for task in frames_module._tasks(settings(), seed, given(images)))
        assert [int((t - 300.0) // 200.0) for t in found] == [0, 1, 2]


def test_without_given_energies_there_are_none(tmp_path, images):
    bare = [atoms.copy() for atoms in images]
    for atoms, image in zip(bare, images, strict=True):
        atoms.arrays["forces"] = image.get_forces()
    made = oracle_frames(settings(frames=20), 0, given(bare), tmp_path)
    assert all(frame.energy is None and frame.forces is not None for frame in made.frames)


def test_labels_are_kept_when_a_run_is_killed(tmp_path, images, monkeypatch):
    whole = oracle_frames(settings(), 0, given(images), tmp_path / "whole")
    write, folder = frames_module.write_json, tmp_path / "killed"

    def power_cut(path, content):
        if path.name == "trajectory-1.json":
            raise RuntimeError("power cut")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(frames_module, "write_json", power_cut)
        with pytest.raises(RuntimeError, match="power cut"):
            oracle_frames(settings(), 0, given(images), folder)
    calls: list[object] = []

    def counted(*arguments):
        calls.append(arguments)
        return hot_trajectory(*arguments)

    monkeypatch.setattr(frames_module, "hot_trajectory", counted)
    continued = oracle_frames(settings(oracle=SPRINGS | {"workers": 2}), 0, given(images), folder)
    assert len(calls) == 2
    for one, other in zip(whole.frames, continued.frames, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.energy == other.energy
    assert continued.seconds > 0.0
    again = oracle_frames(settings(), 0, given(images), folder)
    assert (len(calls), again.seconds) == (2, continued.seconds)
    # Other settings, other labels.
    oracle_frames(settings(temperature=[300.0, 901.0]), 0, given(images), folder)
    oracle_frames(settings(oracle=SPRINGS | {"arguments": {"stiffness": 9.0}}), 0, given(images), folder)
    assert len(calls) == 8


def test_a_later_training_takes_what_was_labelled(tmp_path, images):
    """Beside more given frames, in another order; and not without those that trajectories began at."""
    first = oracle_frames(settings(), 0, given(images[:8]), tmp_path)
    later = labelled_before(given(images[::-1]), tmp_path)
    for one, other in zip(first.frames, later.frames, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.forces, other.forces)
        assert other.energy == pytest.approx(one.energy, abs=1e-9)
    with pytest.raises(ValueError, match="trajectory-0.json: began at a frame that is not among the 8 that are"):
        labelled_before(given(images[8:]), tmp_path)
    with pytest.raises(ValueError, match="elsewhere: holds no frames of an earlier training's 'pretrain'"):
        labelled_before(given(images), tmp_path / "elsewhere")


def test_labelling_ends_with_its_time(tmp_path, images, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(frames_module.time, "perf_counter", lambda: float(next(ticks)))
    made = oracle_frames(settings(), 0, given(images), tmp_path, limit=4.0)
    assert 0 < len(made.frames) < 60
    assert f"pretrain: there was time for {len(made.frames) // 20} of 3 trajectories only" in made.notes
    assert len(oracle_frames(settings(), 0, given(images), tmp_path, limit=4.0).frames) == len(made.frames)


def test_a_trajectory_that_fails_ends(tmp_path, images):
    """With what it has: its first calculation, one for each step, five steps a frame."""
    oracle = SPRINGS | {"arguments": {"fails_at": 13}}
    made = oracle_frames(settings(oracle=oracle), 0, given(images), tmp_path)
    assert len(made.frames) == 3 * 2
    assert "3 trajectories ended early: from frame " in made.notes[-1]
    assert made.notes[-1].endswith("RuntimeError: no convergence")


def test_a_broken_frame_is_left_out(images, monkeypatch):
    """A trajectory ends before the frame whose energy is far above what its temperature explains."""
    whole = hot_trajectory(images[0].copy(), 50, 600.0, settings().oracle, [0])
    assert (len(whole.energies), whole.reason) == (50, "")
    highest = int(np.argmax(whole.energies))
    allowed = whole.energies[highest] - (whole.energy or 0.0) - 1e-6
    monkeypatch.setattr(hot, "HIGHEST", allowed / (3 * units.kB * 600.0))
    found = hot_trajectory(images[0].copy(), 50, 600.0, settings().oracle, [0])
    assert found.energies == whole.energies[:highest]
    assert len(found.positions) == highest
    assert "eV above what 600 K can do" in found.reason


def test_a_bond_is_pulled_apart():
    """The smaller part moves along the bond, as it is; of a ring one atom; a lone atom has no bond."""
    ethanol, moved = molecule("CH3CH2OH"), set()
    for seed in range(40):
        apart = pulled(ethanol, np.random.default_rng(seed))
        part = np.flatnonzero(np.abs(apart.positions - ethanol.positions).max(axis=1) > 0.0)
        moved.add("".join(sorted(apart.symbols[part])))
        steps = (apart.positions - ethanol.positions)[part]
        np.testing.assert_allclose(steps, np.tile(steps[0], (len(part), 1)), atol=1e-12)
        stretches = apart.get_all_distances() / (ethanol.get_all_distances() + np.eye(9))
        assert 1.2 <= stretches.max() <= 3.0 + 1e-9
    assert moved == {"H", "HO", "CHHH"}
    benzene = molecule("C6H6")
    parts = [np.abs(pulled(benzene, np.random.default_rng(k)).positions - benzene.positions).max(1) for k in range(20)]
    assert {int((part > 0.0).sum()) for part in parts} == {1}
    assert pulled(Atoms("He"), np.random.default_rng(0)) is None


def test_pulled_frames_are_kept_beside_the_dynamics(images):
    """Which goes on as without them; where the oracle fails on one, the frame stays as it was."""
    plain = hot_trajectory(images[0].copy(), 40, 300.0, settings().oracle, [0])
    mixed = hot_trajectory(images[0].copy(), 40, 300.0, settings().oracle, [0], 0.3)
    same = [a == b for a, b in zip(plain.positions, mixed.positions, strict=True)]
    assert 20 <= sum(same) < 38
    assert all(e > p for e, p, s in zip(mixed.energies, plain.energies, same, strict=True) if not s)


def test_crystals_are_strained(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    atoms.get_forces()
    made = oracle_frames(settings(oracle="emt", frames=4), 0, given([atoms]), tmp_path)
    assert all(frame.stress is not None and frame.pbc.all() for frame in made.frames)
    deformation = np.linalg.solve(atoms.cell.array, made.frames[0].cell) - np.eye(3)
    assert 0.001 < np.abs(deformation).max() < 0.1
    np.testing.assert_allclose(deformation, deformation.T, atol=1e-12)


def test_what_cannot_be_labelled_is_said(tmp_path, images):
    sulphur = [Atoms(["S", "H", "H"], atoms.positions) for atoms in images]
    for atoms, image in zip(sulphur, images, strict=True):
        atoms.arrays["forces"] = image.get_forces()
    with pytest.raises(ValueError, match=r"no frame could be labelled by emt; frame \d+ of memory: .*S"):
        oracle_frames(settings(oracle="emt"), 0, given(sulphur), tmp_path)
    with pytest.raises(ValueError, match="frame 0 of memory: 3 atoms, too many for 'pretrain'.* allowed are 2"):
        oracle_frames(settings(max_atoms=2), 0, given(images), tmp_path)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"oracle": "tblit"}, r"key 'pretrain.oracle.kind': .*'tblite'.*found 'tblit'"),
        ({"oracle": "emt", "method": "GFN2-xTB"}, "'method' means nothing for kind 'emt'"),
        ({"frame": 10}, "unknown key 'pretrain.frame'; did you mean 'frames'"),
        ({"temperature": [900.0, 300.0]}, "'temperature' falls from 900 to 300 K"),
        ({"share": 1.0}, r"key 'pretrain.share'"),
    ],
)
def test_wrong_keys(values, message):
    with pytest.raises(ValueError, match=message):
        validated(TrainConfig, {"data": {"train": "x.xyz"}, "pretrain": values}, "test")


def test_no_room_in_a_batch():
    with pytest.raises(ValueError, match=r"'optimiser.batch_size' 1 is too small"):
        validated(TrainConfig, {"data": {"train": "x"}, "pretrain": {}, "optimiser": {"batch_size": 1}}, "test")


def test_an_oracle_may_be_a_name():
    short = settings(oracle="tblite", method="GFN1-xTB")
    assert short == settings(oracle={"kind": "tblite", "method": "GFN1-xTB"})
    assert short.oracle.name == "GFN1-xTB"


@pytest.mark.parametrize("n_given, n_others", [(6, 22), (22, 6), (5, 7)])
def test_both_sets_come_in_turns(n_given, n_others):
    """All frames of each before any again; and as a function of the epoch."""

    def order() -> SharedBatches:
        return SharedBatches(SeededBatches(n_given, 2, 0), SeededBatches(n_others, 3, 0, stream=[4]))

    shared, drawn = order(), []
    for epoch in range(8):
        shared.set_epoch(epoch)
        batches = list(shared)
        assert len(batches) == len(shared) == max(-(-n_given // 2), -(-n_others // 3))
        drawn += [k for batch in batches for k in batch]
    for numbers in (range(n_given), range(n_given, n_given + n_others)):
        own = [k for k in drawn if k in numbers]
        passes = [own[k : k + len(numbers)] for k in range(0, len(own) - len(numbers) + 1, len(numbers))]
        assert len(passes) >= 8
        assert all(sorted(found) == list(numbers) for found in passes)
        assert passes[0] != passes[1]
    continued = order()
    continued.first_epoch = 5
    continued.set_epoch(2)
    assert list(continued) == batches


def pretrained(tmp_path: Path, images: list[Atoms], name: str = "run", **sections: dict) -> TrainConfig:
    sections = {"pretrain": {"oracle": SPRINGS, "frames": 20, "temperature": [300.0, 900.0]}} | sections
    return tiny_config(tmp_path, images, name, **sections)


def test_together_equals_one_by_one(tmp_path, images):
    """The correction's members are apart too; and weights of a cheap frame and the bootstrap's meet in one table."""
    more = {"pretrain": {"oracle": SPRINGS, "frames": 20, "weight": 0.5, "share": 0.3}}
    runs = [
        train(
            pretrained(tmp_path, images, way, committee={"training": way, "bootstrap": True}, **more), progress=False
        ).model
        for way in ("together", "one_by_one")
    ]
    for name, tensor in runs[0].state_dict().items():
        torch.testing.assert_close(tensor, runs[1].state_dict()[name], rtol=1e-9, atol=1e-9)


def test_interrupted_run_equals_the_uninterrupted(tmp_path, images, monkeypatch):
    whole = train(pretrained(tmp_path, images, "whole"), progress=False)
    config = pretrained(tmp_path, images, "continued")
    with power_cut(monkeypatch) as kept:
        train(config, progress=False)
    monkeypatch.setattr(frames_module, "oracle_workers", None)  # nothing is labelled again
    continued = train(config, resume=True, progress=False)
    assert history(continued.directory) == history(whole.directory)
    moved = (
        read_tensors(continued.directory / LAST_CHECKPOINT)["correction"]["weight_2"]
        - kept[0]["correction"]["weight_2"]
    )
    assert moved.abs().max() > 0.0


def test_few_frames_gain(tmp_path, images):
    """From what another method, with springs a little softer and from another zero, says of hotter ones."""
    for name, frames in (("few", images[:2]), ("others", labelled_water(30, seed=5))):
        ase.io.write(tmp_path / f"{name}.xyz", frames, format="extxyz")
    files = {"train": str(tmp_path / "few.xyz"), "valid": str(tmp_path / "others.xyz")}
    soft = {"oracle": SPRINGS | {"arguments": {"stiffness": 9.0}}, "frames": 40}
    errors = []
    for name, weight in (("heard", 1.0), ("unheard", 1e-9)):
        config = pretrained(
            tmp_path,
            images,
            name,
            data=files,
            committee={"n_members": 1},
            optimiser={"epochs": 6, "learning_rate": 0.02},
            pretrain=soft | {"weight": weight},
        )
        errors.append(train(config, progress=False).metrics["valid"]["forces_rmse_mev_per_A"])
    assert errors[0] < 0.8 * errors[1]


def test_minutes_include_the_labels(tmp_path, images, monkeypatch):
    seconds = []
    fit = CommitteeFit.__init__

    def spy(self, *arguments, **named):
        seconds.append(arguments[8])
        fit(self, *arguments, **named)

    monkeypatch.setattr(CommitteeFit, "__init__", spy)
    config = pretrained(tmp_path, images, optimiser={"epochs": 200, "minutes": 0.02})
    data, _ = _data_and_model(config)
    assert data.oracle_seconds > 0.0
    train(config, progress=False)
    assert seconds == [pytest.approx(1.2 - data.oracle_seconds)]


def test_labels_may_take_all_the_time(tmp_path, images, monkeypatch):
    config = pretrained(tmp_path, images, optimiser={"epochs": 200, "minutes": 0.1})
    clock = itertools.chain([0.0, 0.0], itertools.count(10.0))
    monkeypatch.setattr(frames_module.time, "perf_counter", lambda: next(clock))
    with pytest.raises(ValueError, match=r"pretrain: 20 frames took 10 s, all that 'optimiser.minutes' 0.1 allows"):
        train(config, progress=False)


@pytest.mark.usefixtures("with_processes")
def test_xtb_labels_water(tmp_path, images):
    pytest.importorskip("tblite")
    config = validated(PretrainConfig, {"oracle": "tblite", "method": "GFN1-xTB", "frames": 2}, "test")
    made = oracle_frames(config, 0, given(images[:1]), tmp_path)
    assert len(made.frames) == 2
    atoms = Atoms(made.frames[1].numbers, made.frames[1].positions, calculator=make_calculator(config.oracle))
    np.testing.assert_allclose(made.frames[1].forces, atoms.get_forces(), rtol=0, atol=1e-3)
