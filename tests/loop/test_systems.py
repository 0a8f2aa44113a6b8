"""Several systems in one run: trajectories, budgets, counts and test frames of each."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from mollifield_train.active import loop
from mollifield_train.active.config import LoopConfig
from mollifield_train.active.explore.config import DynamicsConfig
from mollifield_train.active.explore.trajectory import Exploration, Task
from mollifield_train.active.page_tables import systems_html
from mollifield_train.active.parts import Parts
from mollifield_train.active.status import lines, status_of
from mollifield_train.active.store import LABELLED, Store
from mollifield_train.active.systems import next_to_walk, planned, pools
from mollifield_train.durable import read_json
from tests.loop import stub_parts
from tests.loop.test_rounds import in_this_process

METALS = {"Al": (13, 4), "Cu": (29, 2), "Ni": (28, 4)}
"""Atomic number, and atoms of a starting frame."""


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch)
    monkeypatch.setattr("mollifield_train.active.report.write_report", lambda *arguments: None)


class Committee(stub_parts.Committee):
    """Knows all three metals."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.species = [13, 28, 29]


def make_config(directory: Path, batch: int = 2, n_trajectories: int = 3, **changes: Any) -> LoopConfig:
    """Copper has labels (`batch`) and trajectories of its own, the others share."""
    systems: dict[str, Any] = {}
    for symbol, (_, n_atoms) in METALS.items():
        frames = []
        for seed in range(2):
            frames.append(bulk(symbol, cubic=True) if n_atoms == 4 else bulk(symbol) * (2, 1, 1))
            frames[-1].rattle(0.05, seed=seed)
        ase.io.write(directory / f"{symbol}.extxyz", frames)
        systems[symbol] = {"frames": str(directory / f"{symbol}.extxyz")}
    explorer = {"n_trajectories": 1, "n_steps": 60, "sample_every": 5, "select": 0.1, "extra_trajectories": 2}
    systems["Cu"] |= {"batch": batch, "explorer": explorer | {"n_trajectories": n_trajectories}}
    content = stub_parts.make_config(directory).model_dump(exclude_unset=True) | {
        "frames": None,
        "systems": systems,
        "batch": 4,
        "rounds": 1,
        "parallel": False,
        "arms": {"active": {"kind": "uncertain_then_diverse"}},
        "oracle": {"kind": "emt"},
        "explorer": explorer,
        "test_set": {"n_frames": 5, "every": 1, "n_equilibration": 0},
    }
    return LoopConfig.model_validate(content | changes)


def run(config: LoopConfig, explore: Any = stub_parts.explore) -> list[dict[str, Any]]:
    parts = Parts(stub_parts.train, explore, Committee)
    loop.run_loop(config, False, lambda config: parts)
    return read_json(config.directory / "rounds.json")


def test_each_system_has_its_trajectories_its_budget_and_its_counts(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    walked: list[tuple[str, int]] = []

    def explore(task: Task, settings: DynamicsConfig) -> Exploration:
        symbol = task.start.get_chemical_symbols()[0]
        walked.append((symbol, task.index))
        found = stub_parts.explore(task, settings)
        if symbol == "Ni":  # one that is torn to pieces
            found.regular[-1].positions[0] = found.regular[-1].positions[1] + 0.1
        return found

    end = run(config, explore)[-1]
    assert walked[:5] == [("Al", 0), ("Cu", 0), ("Cu", 1), ("Cu", 2), ("Ni", 0)]
    systems = end["systems"]
    assert systems["Cu"]["n_new"] == 2 and systems["Cu"]["n_missing"] == 0
    assert systems["Al"]["n_new"] + systems["Ni"]["n_new"] == 4 and "n_missing" not in systems["Al"]
    assert (systems["Al"]["n_discarded"], systems["Cu"]["n_discarded"], systems["Ni"]["n_discarded"]) == (0, 0, 1)
    assert end["n_new"] == 6 and end["n_missing"] == 0 and end["n_discarded"] == 1
    store = Store(config.directory / "frames.db")
    for frame in store.frames():
        number, _ = METALS[frame.system]
        assert set(frame.atoms.numbers) == {number}
    tests = Counter(frame.system for frame in store.frames(arm="test", status=LABELLED))
    assert tests == {"Al": 2, "Cu": 2, "Ni": 1}
    # The whole is the mean of the parts, weighted by atoms.
    squares = sum(tests[s] * (2 if s == "Cu" else 4) * systems[s]["force_rmse"] ** 2 for s in METALS)
    assert np.isclose(squares / sum(tests[s] * (2 if s == "Cu" else 4) for s in METALS), end["force_rmse"] ** 2)

    page = systems_html([end])
    assert page.count("<tr>") == 4 and f"<td>{1000 * systems['Ni']['force_rmse']:.1f}</td>" in page
    status = status_of(config.directory)
    assert status["arms"]["active"]["systems"]["Cu"]["labelled"] == 2
    assert any(line.startswith("active, Ni: ") and "1 discarded" in line for line in lines(status))


def test_a_further_trajectory_is_of_the_system_that_is_short(tmp_path: Path) -> None:
    """Copper finds one frame at a time; a kill between the candidates of a further trajectory and its trace is
    repaired before any of them is chosen."""

    def explore(task: Task, settings: DynamicsConfig) -> Exploration:
        found = stub_parts.explore(task, settings)
        few = set(task.start.numbers) == {29}
        return Exploration(found.trace, [], found.regular[1:2]) if few else found

    config = make_config(tmp_path, batch=5, n_trajectories=2)
    results = run(config, explore)
    assert results[-1]["systems"]["Cu"]["n_missing"] == 1  # two planned and two further trajectories of one frame each
    folder = config.directory / "active" / "round-1"
    traces = sorted(folder.glob("trajectory-*.json"))
    assert [json.loads(path.read_text())["system"] for path in traces] == ["Al", "Cu", "Cu", "Ni", "Cu", "Cu"]

    store = Store(config.directory / "frames.db")
    before = {f.columns["content"]: f.columns["status"] for f in store.frames(arm="active")}
    last = store.frames(arm="active", round=1, trajectory=5)
    with store._database as database:
        for frame in last:
            database.update(frame.id, status="candidate")
    for name in ("trajectory-5.json", "model.pt", "metrics.json"):
        (folder / name).unlink()
    assert run(config, explore) == results
    assert {f.columns["content"]: f.columns["status"] for f in store.frames(arm="active")} == before


def test_pools_and_turns(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    shared, copper = pools(config)
    assert (shared.systems, shared.batch, copper.systems, copper.batch) == (("Al", "Ni"), 4, ("Cu",), 2)
    walked = planned(config)
    turns = []
    while (system := next_to_walk(config, shared, walked)) is not None:
        walked.append(system)
        turns.append(system)
    assert turns == ["Al", "Ni", "Al", "Ni"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": Path("a.xyz")}, "one of 'frames' and 'systems'"),
        ({"systems": None}, "one of 'frames' and 'systems'"),
        ({"systems": {"nan": {"frames": "a.xyz"}}}, "'systems' has one named 'nan'"),
    ],
)
def test_mistakes(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_config(tmp_path, **changes)
