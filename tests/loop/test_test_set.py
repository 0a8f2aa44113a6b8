"""The test set: the oracle's own dynamics, continued exactly where it stopped."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mollifield_train.active import test_set
from mollifield_train.active.config import LoopConfig
from mollifield_train.active.label import labelling
from mollifield_train.active.store import Store
from mollifield_train.active.test_set import make_test_set
from tests.loop.test_store import labelled


def config(n_frames: int, **oracle: object) -> LoopConfig:
    return LoopConfig(
        directory=Path("unused"),
        frames=Path("unused"),
        oracle={"kind": "emt"} | oracle,
        test_set={"n_frames": n_frames, "every": 3, "n_equilibration": 2, "temperature": 50},
    )


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of worker processes, for tests that are about something else."""
    for module in (labelling, test_set):
        monkeypatch.setattr(module, "oracle_workers", lambda config, folder: ThreadPoolExecutor)


def make(path: Path, *stretches: int) -> list[np.ndarray]:
    store = Store(path)
    store.add_given([labelled(0)])
    for n_frames in stretches:
        make_test_set(config(n_frames), path, path.parent / "labels", lambda line: None)
    frames = store.frames(arm="test")
    for frame in frames:
        check = frame.atoms.copy()
        check.calc = EMT()
        np.testing.assert_allclose(frame.atoms.get_forces(), check.get_forces(), atol=1e-12)
    return [frame.atoms.get_positions() for frame in frames]


@pytest.mark.usefixtures("in_threads")
def test_continued_equals_uninterrupted(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.db", 5)
    parts = make(tmp_path / "parts.db", 2, 4, 5)
    assert len(whole) == 5
    np.testing.assert_array_equal(whole, parts)
    assert np.abs(np.diff(whole, axis=0)).max(axis=(1, 2)).min() > 1e-3  # Å: it moves


def failing(tmp_path: Path, calculator: str, **arguments: object) -> tuple[Store, dict]:
    store = Store(tmp_path / "frames.db")
    store.add_given([labelled(0)])
    return store, {
        "kind": "ase",
        "calculator": f"{__package__}.broken_calculators.{calculator}",
        "arguments": arguments,
    }


def test_another_path_where_the_oracle_fails(tmp_path: Path) -> None:
    store, oracle = failing(tmp_path, "FailsTwice", log=str(tmp_path / "log"))
    place = tmp_path / "frames.db", tmp_path / "labels"
    with pytest.raises(ValueError, match="no frame 1, the oracle failed: RuntimeError: SCF did not converge"):
        make_test_set(config(2, retries=1, **oracle), *place, lambda line: None)
    make_test_set(config(2, retries=1, **oracle), *place, lambda line: None)
    assert len(store.frames(arm="test")) == 2


def test_the_oracles_dynamics_has_its_folder_and_its_time_limit(tmp_path: Path) -> None:
    """Hangs in the second stretch; the second attempt goes on. Files stay in its folder."""
    _, oracle = failing(tmp_path, "HangsOnce", log=str(tmp_path / "log"))
    lines: list[str] = []
    settings = config(3, retries=1, timeout=2.0, **oracle)
    make_test_set(settings, tmp_path / "frames.db", tmp_path / "labels", lines.append)
    assert lines[1:] == [
        "test set: 1 of 3 frames",
        "test set: frame 2, attempt 1: ended after 2 s, the timeout",
        "test set: 2 of 3 frames",
        "test set: 3 of 3 frames",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.db", "log"]
    assert not Path("WAVECAR").exists()


def from_file(tmp_path: Path, frames: list[Atoms], **more: object) -> tuple[Store, list[str]]:
    """The test set is `frames`; the run starts from the labelled ethanol 0 and 1."""
    store, lines, spool = Store(tmp_path / "frames.db"), [], tmp_path / "labels"
    spool.mkdir(exist_ok=True)
    store.add_given([labelled(0), labelled(1)])
    ase.io.write(tmp_path / "test.extxyz", frames)
    settings = {"oracle": {"kind": "emt"}, "test_set": {"frames": tmp_path / "test.extxyz"}} | more
    loop = LoopConfig(directory=tmp_path, frames="start.extxyz", **settings)
    make_test_set(loop, tmp_path / "frames.db", spool, lines.append)
    return store, lines


@pytest.mark.usefixtures("in_threads")
def test_a_file_of_test_frames_is_labelled_where_it_is_not(tmp_path: Path) -> None:
    """Frames of several sizes; a second start does nothing, and other frames are refused."""
    water = molecule("H2O")
    frames = [labelled(5), water, bulk("Al", cubic=True)]
    for _ in range(2):
        store, lines = from_file(tmp_path, frames)
        assert lines[-1] == f"test set: 3 frames of {tmp_path / 'test.extxyz'}"
        stored = store.frames(arm="test", status="labelled")
        assert [len(frame.atoms) for frame in stored] == [9, 3, 4]
        # One call checks the label that came with the file; it is not counted, like all of the test set's.
        assert [frame.columns["calls"] for frame in stored] == [0, 1, 1]
        water.calc = EMT()
        np.testing.assert_allclose(stored[1].atoms.get_forces(), water.get_forces(), atol=1e-7)
        assert not list((tmp_path / "labels").iterdir())
        water.calc = None
    with pytest.raises(ValueError, match=r"test\.extxyz has changed since the run was started"):
        from_file(tmp_path, frames[:2])


def test_test_frames_are_not_trained_on(tmp_path: Path) -> None:
    turned = labelled(1)
    turned.rotate(30, "z")
    turned.calc = None
    with pytest.raises(ValueError, match=r"test\.extxyz: frame 1 is frame 1 of start\.extxyz"):
        from_file(tmp_path, [labelled(5), turned])


@pytest.mark.usefixtures("in_threads")
def test_test_frames_of_another_method_are_refused(tmp_path: Path) -> None:
    other = labelled(5)
    other.calc.results["energy"] += 1.0
    with pytest.raises(ValueError, match=r"test\.extxyz: frame 0 has an energy of"):
        from_file(tmp_path, [other])
    from_file(tmp_path, [other], check_labels=False)


@pytest.mark.usefixtures("in_threads")
def test_the_oracle_fails_on_test_frames(tmp_path: Path) -> None:
    oracle = {
        "kind": "ase",
        "calculator": f"{__package__}.broken_calculators.FailsOnCopper",
        "retries": 0,
        "arguments": {"how": "raise"},
    }
    store, lines = from_file(tmp_path, [bulk("Cu", cubic=True), molecule("H2O")], oracle=oracle)
    assert lines[-1].endswith("1 frames of " + str(tmp_path / "test.extxyz") + "; 1 could not be labelled")
    assert [frame.columns["status"] for frame in store.frames(arm="test")] == ["failed", "labelled"]


def test_a_file_leaves_nothing_to_the_dynamics() -> None:
    with pytest.raises(ValueError, match="'temperature' means nothing beside 'frames'"):
        LoopConfig(directory="run", frames="a", test_set={"frames": "b", "temperature": 300})
