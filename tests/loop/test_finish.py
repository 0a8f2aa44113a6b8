"""An arm ends before its budget where a stated rule says so, and says why."""

from pathlib import Path
from typing import Any

import pytest

from mollifield_train.active.config import FinishConfig
from mollifield_train.active.finish import FRESH_STD, fresh_std, rounds_to_do, why_finished
from mollifield_train.active.loop import run_loop
from mollifield_train.active.parts import Paths
from mollifield_train.active.status import status_of
from mollifield_train.durable import read_json
from tests.loop.test_oversight import _fast, parts  # noqa: F401
from tests.loop.test_rounds import make_config


def rows(errors: list[float], stds: list[float | None]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"force_rmse": error} for error in errors]
    for row, std in zip(found[1:], stds, strict=True):
        row |= {} if std is None else {FRESH_STD: std}
    return found


def test_stds_have_to_stay_below() -> None:
    rule = FinishConfig(std=0.1, rounds=2)
    assert why_finished(rule, rows([1, 1, 1], [0.2, 0.05])) == ""
    assert why_finished(rule, rows([1, 1], [0.05])) == ""
    assert why_finished(rule, rows([1, 1, 1], [0.05, None])) == ""
    assert "below 0.1 eV/Å in 2 rounds (0.050, 0.090)" in why_finished(rule, rows([1, 1, 1, 1], [0.2, 0.05, 0.09]))


def test_rounds_without_gain() -> None:
    rule = FinishConfig(gain=0.05, rounds=2)
    assert why_finished(rule, rows([0.1, 0.09, 0.089], [1, 1])) == ""
    assert "100.0, 97.0, 99.0 meV/Å" in why_finished(rule, rows([0.1, 0.097, 0.099], [1, 1]))
    assert why_finished(FinishConfig(), rows([0.1, 0.1, 0.1], [0, 0])) == ""


def test_a_run_ends_and_goes_on_when_the_rule_is_lifted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The stub's traces have a std of 0.1 everywhere.
    config = make_config(tmp_path, rounds=3, finish={"std": 0.2, "rounds": 1})
    paths = Paths(config.directory)
    assert run_loop(config, False, parts) is not None
    assert fresh_std(paths.round("active", 1)) == pytest.approx(0.1)
    assert "round 1: finished, the std on fresh trajectories was below 0.2 eV/Å" in capsys.readouterr().out
    assert [row["round"] for row in read_json(config.directory / "rounds.json")] == [0, 1, 0, 1]
    assert status_of(config.directory)["state"].startswith("done; active: the std on fresh trajectories")
    longer = config.model_copy(update={"finish": FinishConfig()})
    assert run_loop(longer, False, parts) is not None
    assert rounds_to_do(longer, paths, "active") == (3, "")
    assert [row["round"] for row in read_json(config.directory / "rounds.json")] == [0, 1, 2, 3] * 2
