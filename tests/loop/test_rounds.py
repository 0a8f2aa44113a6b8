"""Rounds with an oracle that fails, explorers that find little, and crashes everywhere; all in this process."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mollifield_train.active import loop
from mollifield_train.active.config import LoopConfig
from mollifield_train.active.explore.config import DynamicsConfig
from mollifield_train.active.explore.trajectory import Exploration, Task
from mollifield_train.active.label import labelling
from mollifield_train.active.parts import Parts
from mollifield_train.active.store import FAILED, LABELLED, Store, content_key
from mollifield_train.durable import read_json
from tests.loop import stub_parts

ARMS = ("active", "random")


def in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Threads instead of worker processes, no waiting."""
    patch.setattr(labelling, "oracle_workers", lambda config, folder: ThreadPoolExecutor)
    patch.setattr(stub_parts, "PAUSE", 0.0)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report either."""
    in_this_process(monkeypatch)
    monkeypatch.setattr("mollifield_train.active.report.write_report", lambda *arguments: None)


class FailsOften(EMT):
    """Does not converge for about half of the geometries, always the same ones; logs every call."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = log

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        key = content_key(atoms)
        with Path(self.log).open("a") as file:
            file.write(f"{key}\n")
        if len(atoms) > 1 and int(key[1:], 16) % 2:
            raise RuntimeError("no convergence")
        super().calculate(atoms, *arguments, **more)


def make_config(directory: Path, **changes: Any) -> LoopConfig:
    """Two arms on shaken aluminium; labels of the two starting frames are there."""
    if not (directory / "frames.extxyz").exists():
        stub_parts.write_frames(directory)
        frames = ase.io.read(directory / "frames.extxyz", ":")
        for atoms in frames:
            atoms.calc = EMT()
            atoms.get_stress()
        ase.io.write(directory / "frames.extxyz", frames)
    content = stub_parts.make_config(directory).model_dump() | {
        "parallel": False,
        "oracle": {"kind": "emt"},
        "check_labels": False,
    }
    return LoopConfig.model_validate(content | changes)


def run(config: LoopConfig, explore: Any = stub_parts.explore) -> list[dict[str, Any]]:
    """Run to the end and return the metrics of all rounds."""
    parts = Parts(stub_parts.train, explore, stub_parts.Committee)
    loop.run_loop(config, False, lambda config: parts)
    return read_json(config.directory / "rounds.json")


def sides(config: LoopConfig, arm: str, number: int) -> dict[str, set[str]]:
    folder = "start" if number == 0 else f"{arm}/round-{number}"
    found = json.loads((config.directory / folder / "training" / "sides.json").read_text())
    return {side: set(keys) for side, keys in found.items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_validation_frame_was_ever_trained_on(tmp_path: Path, seed: int) -> None:
    """With the split drawn anew in each round, half of a round's validation frames and more had been."""
    training = {"valid_fraction": 0.4}
    config = make_config(tmp_path, rounds=3, training=training, seed=seed)
    run(config)
    config = config.model_copy(update={"rounds": 5})  # and after a restart
    results = run(config)
    trained: set[str] = set()
    validated: set[str] = set()
    for arm in ARMS:
        previous = sides(config, arm, 0)
        for number in range(6):
            now = sides(config, arm, number)
            assert previous["train"] <= now["train"]
            assert previous["validation"] <= now["validation"]
            trained, validated = trained | now["train"], validated | now["validation"]
            previous = now
    assert not trained & validated
    # Nothing is set aside while there are fewer than 2 / 0.4 = 5 frames: in the start and the first round.
    for row in results:
        assert row["n_frames"] == 2 + 3 * row["round"]
        assert row["n_valid"] == len(sides(config, row["arm"], row["round"])["validation"])
        assert row["round"] > 1 or row["n_valid"] == 0
    assert len(validated) > 2


def test_failures_are_replaced_until_the_budget_is_spent(tmp_path: Path) -> None:
    oracle = {
        "kind": "ase",
        "calculator": f"{__name__}.FailsOften",
        "retries": 1,
        "arguments": {"log": str(tmp_path / "log")},
    }
    test_set = {"n_frames": 1, "every": 1, "n_equilibration": 0}
    config = make_config(tmp_path, test_set=test_set)
    with_failures = config.model_validate(config.model_dump() | {"oracle": oracle})
    results = run_with_test_set_of(config, with_failures)
    ends = {row["arm"]: row for row in results if row["round"] == 2}
    store = Store(config.directory / "frames.db")
    n_calls = 0
    for arm in ARMS:
        assert ends[arm]["n_new"] == 6 and ends[arm]["n_missing"] == 0
        assert ends[arm]["n_frames"] == 8
        failed = store.frames(arm=arm, status=FAILED)
        labelled = store.frames(arm=arm, status=LABELLED)
        assert len(failed) == ends[arm]["n_failed"] > 0
        # One retry for each failure; every attempt is counted.
        assert ends[arm]["oracle_calls"] == 2 * len(failed) + len(labelled)
        n_calls += ends[arm]["oracle_calls"] - ends[arm]["n_shared"]
    assert len((tmp_path / "log").read_text().split()) == n_calls


def run_with_test_set_of(sound: LoopConfig, config: LoopConfig) -> list[dict[str, Any]]:
    """Run `config`; its test set, which is not what is tested, is made by the oracle of `sound`."""
    with pytest.MonkeyPatch.context() as patch:
        make = loop.make_test_set
        patch.setattr(loop, "make_test_set", lambda config, *rest: make(sound, *rest))
        return run(config)


def few_frames(task: Task, config: DynamicsConfig) -> Exploration:
    """The first two of the frames that the stub finds."""
    found = stub_parts.explore(task, config)
    return Exploration(found.trace, found.uncertain[:1], found.regular[1:2])


def test_further_trajectories_where_candidates_run_out(tmp_path: Path) -> None:
    config = make_config(tmp_path, rounds=1, batch=6)
    ends = [row for row in run(config, few_frames) if row["round"] == 1]
    assert [row["n_new"] for row in ends] == [6, 6]
    for arm, n_trajectories in zip(ARMS, (3, 6), strict=True):
        traces = list((config.directory / arm / "round-1").glob("trajectory-*.json"))
        assert len(traces) == n_trajectories


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explorer = stub_parts.make_config(tmp_path).explorer.model_dump() | {"extra_trajectories": 1}
    config = make_config(tmp_path, rounds=1, batch=9, explorer=explorer)
    ends = [row for row in run(config, few_frames) if row["round"] == 1]
    assert [(row["n_new"], row["n_missing"]) for row in ends] == [(6, 3), (3, 6)]
    output = capsys.readouterr().out
    assert "3 MISSING: no candidates left in 3 trajectories" in output
    assert "6 MISSING: no candidates left in 3 trajectories" in output
    assert "random: 3 of 9 new labels, 6 MISSING" in output


def test_a_broken_oracle_is_not_asked_for_ever(tmp_path: Path) -> None:
    config = make_config(tmp_path, rounds=1, arms=["active"])
    oracle = {
        "kind": "ase",
        "calculator": f"{stub_parts.__package__}.broken_calculators.FailsOnCopper",
        "arguments": {"how": "raise"},
        "retries": 0,
    }
    ase.io.write(tmp_path / "frames.extxyz", copper_with_labels())
    broken = config.model_validate(config.model_dump() | {"oracle": oracle})
    end = run_with_test_set_of(config, broken)[-1]
    assert (end["n_new"], end["n_failed"], end["oracle_calls"]) == (0, 9, 9)


def copper_with_labels() -> list[Atoms]:
    frames = []
    for seed in range(2):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    return frames


class Crash(BaseException):
    """What no handler expects, like a power cut."""


def test_crashes_between_any_two_writes(tmp_path: Path) -> None:
    """The run that crashed after every few transactions ends as the one that never did."""
    outcomes = []
    for name, lifetimes in (("whole", iter([10**6])), ("crashed", count(2))):
        (tmp_path / name).mkdir()
        oracle = {
            "kind": "ase",
            "calculator": f"{__name__}.FailsOften",
            "retries": 0,
            "arguments": {"log": str(tmp_path / name / "log")},
        }
        sound = make_config(tmp_path / name, training={"valid_fraction": 0.4})
        config = sound.model_validate(sound.model_dump() | {"oracle": oracle})
        results, n_crashes = run_between_crashes(sound, config, lifetimes)
        stored = {
            (f.columns["arm"], f.columns["content"]): (f.columns["status"], f.columns.get("side"))
            for f in Store(config.directory / "frames.db").frames()
        }
        outcomes.append((results, stored))
    assert n_crashes > 5
    assert outcomes[0] == outcomes[1]


def run_between_crashes(
    sound: LoopConfig, config: LoopConfig, lifetimes: Iterator[int]
) -> tuple[list[dict[str, Any]], int]:
    """Start the run again and again, crashing each time at the next transaction after so many."""
    writers = ["add_given", "add_test_frame", "replace_candidates", "choose", "record_label", "record_failure"]
    for n_crashes, lifetime in enumerate(lifetimes):
        with pytest.MonkeyPatch.context() as patch:
            left = iter(range(lifetime))

            def dying(write: Any, left: Iterator[int] = left) -> Any:
                def wrapped(*arguments: Any, **more: Any) -> Any:
                    if next(left, None) is None:
                        raise Crash
                    return write(*arguments, **more)

                return wrapped

            for name in writers:
                patch.setattr(Store, name, dying(getattr(Store, name)))
            try:
                return run_with_test_set_of(sound, config), n_crashes
            except Crash:
                continue
    raise AssertionError("never finished")


def test_trajectories_start_from_different_frames_and_from_new_ones(tmp_path: Path) -> None:
    started: dict[tuple[str, int], list[str]] = {}

    def explore(task: Task, config: DynamicsConfig) -> Exploration:
        arm, folder = task.directory.parts[-3], task.directory.parts[-2]
        number = int(folder.removeprefix("round-"))
        started.setdefault((arm, number), []).append(content_key(task.start))
        found = stub_parts.explore(task, config)
        found.regular.insert(0, task.start.copy())  # as an explorer's step 0
        found.regular[0].info["step"] = 0
        return found

    config = make_config(tmp_path)
    run(config, explore)
    store = Store(config.directory / "frames.db")
    given = {frame.columns["content"] for frame in store.frames(arm="given")}
    for arm in ARMS:
        assert len(set(started[arm, 1])) == len(set(started[arm, 2])) == 2
        assert set(started[arm, 1]) == given
        new = {frame.columns["content"] for frame in store.frames(arm=arm, round=1, status=LABELLED)}
        assert len(set(started[arm, 2]) & new) == len(set(started[arm, 2]) & given) == 1
        # What a trajectory started from has its label: it is in no pool.
        labelled = [frame.columns["content"] for frame in store.frames(arm=arm, status=LABELLED)]
        assert len(set(labelled)) == len(labelled)
        assert not set(labelled) & given


def test_isolated_atoms_are_for_the_shifts_alone(tmp_path: Path) -> None:
    make_config(tmp_path)
    frames = ase.io.read(tmp_path / "frames.extxyz", ":")
    alone = Atoms("Al", cell=[12, 12, 12], pbc=True)
    alone.info["energy"] = -1.5  # no forces
    ase.io.write(tmp_path / "frames.extxyz", [alone, *frames, Atoms("Al")])
    started = []

    def explore(task: Task, config: DynamicsConfig) -> Exploration:
        started.append(len(task.start))
        return stub_parts.explore(task, config)

    trained, first = [], []

    def train(task: Any, config: LoopConfig) -> None:
        trained.append([len(atoms) for atoms in task.frames])
        first.append(task.first)
        stub_parts.train(task, config)

    config = make_config(tmp_path, rounds=1, arms=["active"])
    parts = Parts(train, explore, stub_parts.Committee)
    loop.run_loop(config, False, lambda config: parts)
    assert started == [4, 4]
    assert [sizes.count(1) for sizes in trained] == [2, 2]
    assert first == [None, config.directory / "start" / "training"]
    store = Store(config.directory / "frames.db")
    assert {frame.columns["arm"] for frame in store.frames() if len(frame.atoms) == 1} == {"given"}


def test_a_primitive_cell_is_no_isolated_atom(tmp_path: Path) -> None:
    make_config(tmp_path)
    frames = []
    for scale in (0.98, 1.02):
        atoms = bulk("Al")
        atoms.set_cell(atoms.cell * scale, scale_atoms=True)
        atoms.calc = EMT()
        atoms.get_stress()
        frames.append(atoms)
    ase.io.write(tmp_path / "frames.extxyz", frames)
    started = []

    def explore(task: Task, config: DynamicsConfig) -> Exploration:
        started.append(len(task.start))
        return stub_parts.explore(task, config)

    results = run(make_config(tmp_path, rounds=1, arms=["active"], start={"perturb": False}), explore)
    assert set(started) == {1}
    # Wherever the one atom goes, it is the same crystal.
    assert results[-1]["n_new"] == 0 and results[-1]["n_duplicates"] > 0


def test_changed_starting_frames_are_refused(tmp_path: Path) -> None:
    config = make_config(tmp_path, rounds=1)
    run(config)
    frames = ase.io.read(tmp_path / "frames.extxyz", ":")
    frames[0].calc.results["energy"] += 0.1
    ase.io.write(tmp_path / "frames.extxyz", frames)
    with pytest.raises(ValueError, match=r"frames\.extxyz has changed since the run"):
        run(config.model_copy(update={"rounds": 2}))
