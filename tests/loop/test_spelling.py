"""Configs and traces of earlier releases: files keep their meaning, runs that were begun with them go on."""

from pathlib import Path
from typing import Any

import pytest

from mollifield_train.active.config import LoopConfig, check_same_run
from mollifield_train.active.explore.trajectory import Trace, read_trace, write_trace
from mollifield_train.active.spelling import stored
from mollifield_train.durable import write_json

BASE = {"directory": "run", "frames": "frames.xyz"}


@pytest.mark.parametrize(
    ("old", "arms"),
    [
        ({}, {"active": {"kind": "uncertain_then_diverse", "descriptor": "species_mean", "pool_factor": 3.0}}),
        (
            {"arms": ["random", "active"], "acquisition": {"kind": "most_uncertain", "pool_factor": 3.0}},
            {"random": {"kind": "random"}, "active": {"kind": "most_uncertain"}},
        ),
        (
            {"acquisition": {"pool_factor": 2.0}},
            {"active": {"kind": "uncertain_then_diverse", "descriptor": "species_mean", "pool_factor": 2.0}},
        ),
        (
            {"arms": ["active"], "acquisition": {"kind": "farthest_points", "descriptor": "mean", "pool_factor": 2.0}},
            {"active": {"kind": "farthest_points", "descriptor": "mean"}},
        ),
    ],
)
def test_a_list_of_arms_is_read(old: dict[str, Any], arms: dict[str, Any]) -> None:
    read = LoopConfig.model_validate(BASE | old).model_dump(mode="json")["arms"]
    assert list(read.items()) == list(arms.items())


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ({"arms": {"a": {}}, "acquisition": {}}, "'acquisition' goes into 'arms'"),
        (
            {"arms": ["passive"]},
            r"'arms' lists 'passive' without its acquisition: write arms: \{passive: \{kind: ...\}\}",
        ),
        ({"acquisition": {"pool_factr": 2.0}}, "pool_factr"),
        ({"arms": {"given": {"kind": "random"}}}, "'arms' has one named 'given'"),
        ({"arms": {"../x": {"kind": "random"}}}, "a letter first"),
        ({"arms": {"calculation-1": {"kind": "random"}}}, "'arms' has one named 'calculation-1'"),
        ({"arms": {"NaN": {"kind": "random"}}}, "'arms' has one named 'NaN'"),
    ],
)
def test_mistakes_are_mistakes_still(old: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoopConfig.model_validate(BASE | old)


OLD_ORACLE = {"arguments": {}, "workers": 1, "retries": 2, "timeout": 600.0}


@pytest.mark.parametrize(
    ("oracle", "stored_oracle"),
    [
        ({}, {"kind": "tblite", "method": None, "calculator": None}),
        ({"method": "GFN1-xTB"}, {"kind": "tblite", "method": "GFN1-xTB", "calculator": None}),
        ({"kind": "emt"}, {"kind": "emt", "method": None, "calculator": None}),
        ({"kind": "ase", "calculator": "a.B"}, {"kind": "ase", "method": None, "calculator": "a.B"}),
    ],
)
@pytest.mark.parametrize("explorer", ["lammps", "ase"])
@pytest.mark.parametrize("damping", [100.0, 50.0])
def test_runs_go_on(oracle: dict[str, Any], stored_oracle: dict[str, Any], explorer: str, damping: float) -> None:
    """What config.json held of the same file; a test set that another thermostat made is named."""
    content = BASE | {"oracle": oracle, "explorer": {"kind": explorer, "damping": damping}}
    now = LoopConfig.model_validate(content | {"arms": ["active", "random"]}).model_dump(mode="json")
    # Where things run may change, and earlier releases knew but one place.
    committee = {key: value for key, value in now["training"]["committee"].items() if key != "cluster"}
    known = now | {
        "oracle": {key: value for key, value in now["oracle"].items() if key not in ("cluster", "ladder")},
        "training": now["training"] | {"committee": committee},
    }
    before = known | {
        "arms": ["active", "random"],
        "acquisition": {"kind": "uncertain_then_diverse", "descriptor": "species_mean", "pool_factor": 3.0},
        "oracle": OLD_ORACLE | stored_oracle,
        "explorer": now["explorer"] | {"n_ranks": 1},
        "test_set": {key: value for key, value in now["test_set"].items() if key != "damping"},
    }
    if damping == now["test_set"]["damping"]:
        assert stored(before) == known
        check_same_run(stored(before), now, Path("run"))
    else:
        with pytest.raises(ValueError, match="other settings: test_set"):
            check_same_run(stored(before), now, Path("run"))
    assert stored(now) == now


def test_traces_of_earlier_releases_are_read(tmp_path: Path) -> None:
    columns = {"step": [0, 5], "temperature": [300.0, 290.0], "max_std": [0.1, 0.2], "mean_std": [0.05, 0.1]}
    write_json(tmp_path / "old.json", columns | {"end": "stopped", "select": 0.15})
    write_trace(tmp_path / "new.json", Trace(columns, "stopped"), 0.15)
    assert read_trace(tmp_path / "old.json") == read_trace(tmp_path / "new.json") == (Trace(columns, "stopped"), 0.15)


@pytest.mark.parametrize(
    "content", [{}, [], {"columns": {"step": [1], "x": []}, "end": "complete", "select": 0.1}, {"max_std": [0.1]}]
)
def test_what_is_no_trace_is_named(content: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "trajectory-0.json", content)
    with pytest.raises(ValueError, match=r"trajectory-0\.json: not the trace of a trajectory"):
        read_trace(tmp_path / "trajectory-0.json")
