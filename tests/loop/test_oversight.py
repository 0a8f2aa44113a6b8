"""Looking at a run and steering it: status, pause, resume, retry-failed, export-dataset."""

import io
import json
import time
from pathlib import Path
from typing import Any

import ase.io
import pytest

from mollifield_train.active.dataset import export_dataset
from mollifield_train.active.live import live
from mollifield_train.active.loop import run_loop
from mollifield_train.active.parts import Parts, Paths
from mollifield_train.active.rounds import ArmRun
from mollifield_train.active.status import status_of
from mollifield_train.active.store import FAILED, LABELLED, Store
from mollifield_train.cli import main
from mollifield_train.data.frames import read_frames
from mollifield_train.durable import only_process, read_json
from mollifield_train.oracle.calculators import EmtConfig
from mollifield_train.oracle.labels import compute_label
from tests.loop import stub_parts
from tests.loop.test_rounds import FailsOften, in_this_process, make_config


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch)
    monkeypatch.setattr("mollifield_train.active.report.write_report", lambda *arguments: Path("report"))
    monkeypatch.setattr("mollifield_train.active.loop.default_parts", parts)


def parts(config: Any) -> Parts:
    return Parts(stub_parts.train, stub_parts.explore, stub_parts.Committee)


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(word) for word in arguments]) == 0
    return capsys.readouterr().out


def test_a_paused_run_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Paused after the first round's labels; what comes out is what an unpaused run has."""
    for name in ("whole", "paused"):
        (tmp_path / name).mkdir()
    whole, paused = (make_config(tmp_path / name) for name in ("whole", "paused"))
    assert run_loop(whole, False, parts) is not None
    train = ArmRun.train

    def asks_for_a_pause(self: ArmRun, number: int) -> None:
        train(self, number)
        if number == 1:
            assert "ends before its next step" in printed(capsys, "pause", self.paths.root)
            assert "running, pauses before its next step" in printed(capsys, "status", self.paths.root)

    with monkeypatch.context() as patch:
        patch.setattr(ArmRun, "train", asks_for_a_pause)
        assert run_loop(paused, False, parts) is None
    status = status_of(paused.directory)
    assert status["state"] == "paused"
    assert status["arms"]["active"]["next"] == "round 1: evaluate"
    assert status["arms"]["random"]["next"] == "round 1: explore (0 of 2 trajectories)"
    assert run_loop(paused, False, parts) is None  # the same command again does not take the word back
    assert "force RMSE" in printed(capsys, "resume", paused.directory)
    assert status_of(paused.directory)["state"] == "done"
    first, second = (read_json(config.directory / "rounds.json") for config in (whole, paused))
    assert first == second


def test_status_counts_what_the_store_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(tmp_path)
    assert main(["status", str(tmp_path)]) == 2
    assert "holds no run of the loop" in capsys.readouterr().err
    run_loop(config, False, parts)
    status = json.loads(printed(capsys, "status", config.directory, "--json"))
    frames = Store(Paths(config.directory).store).frames(arm="active")
    counted = sum(frame.columns["status"] == LABELLED for frame in frames)
    row = status["arms"]["active"]
    assert row["labelled"] == counted == config.rounds * config.batch
    assert row["next"] == "done" and len(row["force_rmse"]) == config.rounds
    assert list(status["oracle_settings"]) == [config.oracle.fingerprint()]
    words = printed(capsys, "status", config.directory)
    assert f"test set: {config.test_set.n_frames} labelled frames" in words and "WARNING" not in words


def test_labels_of_two_settings_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(tmp_path)
    run_loop(config, False, parts)
    store = Store(Paths(config.directory).store)
    frame = store.frames(arm="active", status=LABELLED)[0]
    store.record_label(frame.id, compute_label(EmtConfig(arguments={"asap_cutoff": True}), frame.atoms), calls=1)
    assert "WARNING: labels of several settings of the oracle" in printed(capsys, "status", config.directory)


def test_failed_frames_get_another_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{FailsOften.__module__}.FailsOften"
    oracle = {"kind": "ase", "calculator": name, "arguments": {"log": str(tmp_path / "log")}, "retries": 0}
    config = make_config(tmp_path, oracle=oracle)
    config.directory.mkdir()
    (config.directory / "config.json").write_text(config.model_dump_json())
    store = Store(Paths(config.directory).store)
    store.add_given(ase.io.read(config.frames, ":"))
    bare = [atoms.copy() for atoms in ase.io.read(config.frames, ":")]
    for atoms in bare:
        atoms.rattle(0.1, seed=1)
    store.add_given(bare, arm="active")
    for frame in store.frames(arm="active"):
        store.record_failure(frame.id, "no convergence after 100 steps", 2)
    assert "failed: 2 x error: no convergence after # steps" in printed(capsys, "status", config.directory)
    assert "0 frame(s)" in printed(capsys, "retry-failed", config.directory, "--reason", "timeout")
    assert "2 frame(s)" in printed(capsys, "retry-failed", config.directory, "--reason", "no convergence")
    again = store.frames(arm="active")
    assert [(f.columns["status"], f.columns["calls"], "reason" in f.columns) for f in again] == [
        ("chosen", 2, False)
    ] * 2
    assert not store.frames(status=FAILED)


def test_the_data_set_is_read_by_the_trainer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(tmp_path)
    run_loop(config, False, parts)
    output = tmp_path / "all.extxyz"
    printed(capsys, "export-dataset", config.directory, "-o", output)
    frames = read_frames(output)
    store = Store(Paths(config.directory).store)
    labelled = [f for f in store.frames(status=LABELLED) if f.columns["arm"] != "test"]
    contents = {f.columns["content"]: f.atoms for f in labelled}
    assert {frame.content for frame in frames} == set(contents)
    for frame in frames:
        assert frame.energy == pytest.approx(contents[frame.content].get_potential_energy(), abs=1e-8)
    images = ase.io.read(output, ":")
    assert {atoms.info["arm"] for atoms in images} == {"given", *config.arms}
    assert all("settings" in atoms.info for atoms in images if atoms.info["arm"] != "given")
    assert export_dataset(config.directory, tmp_path / "one.extxyz", arm="active") < len(images)
    assert export_dataset(config.directory, tmp_path / "test.extxyz", test=True) == config.test_set.n_frames
    with pytest.raises(ValueError, match="has no arm 'passive'; arms: active, random"):
        export_dataset(config.directory, tmp_path / "none.extxyz", arm="passive")


def test_what_runs_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(tmp_path)
    run_loop(config, False, parts)
    with only_process(Paths(config.directory).lock):
        assert status_of(config.directory)["state"] == "running"
        assert main(["resume", str(config.directory)]) == 2
    assert "another loop is running" in capsys.readouterr().err


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_bars_show_labels_and_the_next_step(tmp_path: Path) -> None:
    """In the loop's own terminal while it runs; a file gets none."""
    config = make_config(tmp_path, rounds=1)
    terminal, file = Terminal(), io.StringIO()
    evaluate = ArmRun.evaluate

    def seen(self: ArmRun, number: int) -> None:
        before = len(terminal.getvalue())
        while number == 1 and "evaluate, 3/3 labels" not in terminal.getvalue()[before:]:
            time.sleep(0.01)
        evaluate(self, number)

    with (
        pytest.MonkeyPatch.context() as patch,
        live(config.directory, terminal, 0.01),
        live(config.directory, file, 0.01),
    ):
        patch.setattr(ArmRun, "evaluate", seen)
        run_loop(config, False, parts)
    text = terminal.getvalue()
    for arm in ("active", "random"):
        assert f"{arm}, round 1: evaluate, 3/3 labels |" in text
    assert file.getvalue() == ""


def test_following_ends_with_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(tmp_path, rounds=1)
    run_loop(config, False, parts)
    assert "run: done" in printed(capsys, "status", config.directory, "--follow")
