"""Sweeps: what may be varied, what is drawn, what is kept; a trial that fails is not the end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
import yaml

import mollifield_train.sweep.trial
from mollifield_train.config import load_train_config
from mollifield_train.sweep.config import load_sweep_config, meant, training_values
from mollifield_train.sweep.folder import SweepDirectory
from mollifield_train.sweep.spaces import distribution
from mollifield_train.sweep.table import Outcome, outcomes, pareto_front, table

from .fitting import labelled_water, later_export, no_export, tiny_config  # noqa: F401  (fixtures)

pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")

from mollifield_train.cli import main
from mollifield_train.sweep.run import run_sweep, table_so_far
from mollifield_train.sweep.study import open_study

PATIENCE = 120.0  # seconds until a condition that never comes fails the test
RATE = "optimiser.learning_rate"
SEARCH = {RATE: {"low": 1e-3, "high": 2e-2, "log": True}, "model.n_channels": [2, 4]}


class Here(Executor):
    """Calls at once, in this process."""

    def submit(self, function, /, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def here(settings, n_workers, folder, timeout):
    return Here()


def sweep_file(folder: Path, training: dict | None = None, **keys) -> Path:
    """sweep.yaml beside a train.yaml with one small member; its `search` is `SEARCH` unless `keys` say so."""
    sections = {"committee": {"n_members": 1}, "optimiser": {"epochs": 2}} | (training or {})
    base = tiny_config(folder, labelled_water(16), **sections)
    (folder / "train.yaml").write_text(yaml.safe_dump(base.model_dump(mode="json")))
    values = {"directory": str(folder / "out"), "training": str(folder / "train.yaml"), "search": SEARCH}
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(values | keys, sort_keys=False))
    return path


@pytest.fixture(name="trainings")
def quick_trials(monkeypatch):
    """The configs that were trained, in order; costs are the number of channels."""
    configs, train = [], mollifield_train.sweep.trial.train

    def recorded(config, **named):
        configs.append(config)
        return train(config, **named)

    monkeypatch.setattr("mollifield_train.sweep.trial.train", recorded)
    monkeypatch.setattr("mollifield_train.sweep.trial.inference_cost", lambda *_: float(configs[-1].model.n_channels))
    return configs


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"optimiser.lerning_rate": [1, 2]}, r"search: unknown key 'optimiser.lerning_rate'; did you mean 'learning_"),
        ({"optimizer.epochs": [1, 2]}, r"search: unknown key 'optimizer'; did you mean 'optimiser'\?"),
        ({"optimiser.batch_size": [0, 2]}, "search: key 'optimiser.batch_size': input should be greater than 0, found"),
        ({"optimiser.batch_size": {"low": 1.0, "high": 9.0}}, "search: key 'optimiser.batch_size': .*integer"),
        ({RATE: {"low": 0.1, "hihg": 1}}, rf"sweep.yaml: unknown key 'search.{RATE}.hihg'; did you mean 'high'\?"),
        ({RATE: {"low": 0.1, "high": 0.01}}, rf"key 'search.{RATE}': 'low' \(0.1\) must be below 'high' \(0.01\)"),
        ({RATE: {"low": 0, "high": 1, "log": True}}, "'log' needs a 'low' above 0, found 0"),
        ({RATE: [0.1, 0.1]}, "value 0.1 stands in the list twice"),
        ({"seed": [0, 1]}, "search: 'seed' cannot be varied: trials are compared on the same validation frames"),
        ({"data.train": ["a", "b"]}, "search: 'data.train' cannot be varied"),
        ({"seed.x": [0, 1]}, "search: 'seed.x': 'seed' is a value, not a section"),
        ({"loss.mollifier": [None, {}], "loss.mollifier.every": [1, 2]}, "'loss.mollifier.every' is part of 'loss.mo"),
        ({}, "key 'search'"),
    ],
)
def test_what_cannot_be_varied_is_said(tmp_path, search, message):
    path = sweep_file(tmp_path, search=search)
    with pytest.raises(ValueError, match=message) as caught:
        load_sweep_config(path)
    assert str(caught.value).startswith(str(path))


def test_a_sweep_without_validation_frames_is_refused(tmp_path):
    path = sweep_file(tmp_path, {"data": {"valid_fraction": 0.0}})
    with pytest.raises(ValueError, match="train.yaml: a sweep needs validation frames"):
        load_sweep_config(path)


def test_a_key_of_a_preset_is_varied_beside_the_preset(tmp_path):
    path = sweep_file(tmp_path, search={"model.n_channels": [8, 24], "model.radial_hidden": [[8], [16, 16]]})
    config = load_sweep_config(path)
    config = config.model_copy(update={"training": config.training | {"model": "fast"}})
    chosen = meant(config, {"model.n_channels": 24, "model.radial_hidden": "[16, 16]"})
    values = training_values(config, chosen)
    assert values["model"] == {"preset": "fast", "n_channels": 24, "radial_hidden": [16, 16]}
    assert config.training["model"] == "fast"


def finished(number, error, cost):
    errors = {"forces_rmse_mev_per_A": error, "energy_rmse_mev_per_atom": 1.0}
    return Outcome(number, {"x": number}, {"errors": errors, "us_per_atom": cost, "minutes": 0.5})


def test_front_and_table():
    found = [finished(0, 30.0, 1.0), finished(1, 20.0, 2.0), finished(2, 25.0, 3.0), finished(3, 20.0, 4.0)]
    failed = Outcome(4, {"x": 4}, {"reason": "ValueError: too\nmuch"})
    running = Outcome(5, {"x": 5}, None)
    trials = [running, failed, *found]
    assert [trial.number for trial in pareto_front(trials)] == [0, 1]
    listed = outcomes({t.number: t.values for t in trials}, {t.number: t.result for t in trials})
    assert [trial.number for trial in listed] == [1, 3, 2, 0, 4, 5]
    assert [trial.number for trial in listed if trial.on_front] == [1, 0]
    lines = table(listed).splitlines()
    assert lines[1].split() == ["*", "1", "1", "20.00", "1.000", "2", "0.50"]
    assert lines[5].endswith("failed: ValueError: too much") and lines[6].endswith("not finished")


@pytest.mark.parametrize(("sampler", "n_before"), [("tpe", 10), ("random", 1)])
def test_a_study_that_is_opened_again_draws_what_it_would_have_drawn(tmp_path, sampler, n_before):
    """The estimator has no word in its first 10."""
    space = {key: distribution(found) for key, found in load_sweep_config(sweep_file(tmp_path)).search.items()}

    def draw(study, n):
        for _ in range(n):
            number = study.draw()
            study.finish(number, [study.begun()[number][RATE]])

    with open_study(tmp_path / "whole.db", space, 1, sampler, 3) as study:
        draw(study, n_before)
        shutil.copy(tmp_path / "whole.db", tmp_path / "again.db")
        draw(study, 2)
        whole = study.begun()
    with open_study(tmp_path / "again.db", space, 1, sampler, 3) as study:
        draw(study, 2)
        again = study.begun()
    assert again == whole
    assert len({values[RATE] for values in whole.values()}) == n_before + 2
    assert all(1e-3 <= values[RATE] <= 2e-2 and values["model.n_channels"] in (2, 4) for values in whole.values())


def test_a_sweep_and_its_continuation(tmp_path, trainings):
    """Every trial trains what was drawn for it; one that fails is listed with its reason; nothing is trained twice."""
    search = {RATE: [0.005, 1e300], "model.n_channels": [2, 4]}
    keys = {"sampler": "random", "objective": "error_and_cost"}
    path = sweep_file(tmp_path, search=search, trials=5, **keys)
    lines = []
    found = run_sweep(load_sweep_config(path), here, lines.append)
    assert [trial.number for trial in found if trial.finished] != [] and len(found) == len(trainings) == len(lines) == 5
    for trial in found:
        config = trainings[trial.number]
        assert list(trial.values.items()) == [
            (RATE, config.optimiser.learning_rate),
            ("model.n_channels", config.model.n_channels),
        ]
        assert trial.finished == (config.optimiser.learning_rate == 0.005)
        if trial.finished:
            assert trial.cost == config.model.n_channels
            assert load_train_config(tmp_path / "out/trials" / str(trial.number) / "config.yaml") == config
        else:
            assert "not finite" in trial.result["reason"]
    assert not all(trial.finished for trial in found)
    assert [trial.error for trial in found] == sorted(trial.error for trial in found)
    stored = json.loads((tmp_path / "out/results.json").read_text())
    assert [(t["trial"], t["result"]) for t in stored] == [(t.number, t.result) for t in found]
    assert (tmp_path / "out/sweep.png").read_bytes().startswith(b"\x89PNG")

    raised = sweep_file(tmp_path, search=search, trials=6, workers=2, **keys)
    more = run_sweep(load_sweep_config(raised), here, lines.append)
    assert len(trainings) == 6
    assert [t.result for t in more if t.number < 5] == [t.result for t in found]
    assert table_so_far(load_sweep_config(path)) == table(more)
    other = sweep_file(tmp_path, search=search | {"model.n_channels": [2, 8]}, **keys)
    with pytest.raises(ValueError, match=r"other settings: search.model.n_channels.values was \[2, 4\], is \[2, 8\]"):
        run_sweep(load_sweep_config(other), here)


def test_faults_of_the_data_are_no_trials(tmp_path, trainings):
    path = sweep_file(tmp_path)
    (tmp_path / "cost.xyz").write_text("1\nProperties=species:S:1:pos:R:3\nCu 0 0 0\n")
    with pytest.raises(ValueError, match="cost.xyz: frame 0 has Cu, which no training frame has"):
        run_sweep(load_sweep_config(sweep_file(tmp_path, cost_frame=str(tmp_path / "cost.xyz"))), here)
    sweep_file(tmp_path)
    (tmp_path / "frames.xyz").unlink()
    with pytest.raises(ValueError, match=r"frames.xyz: no such file"):
        run_sweep(load_sweep_config(path), here)
    assert trainings == []


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    path = sweep_file(tmp_path, directory=str(tmp_path))
    with pytest.raises(ValueError, match="holds files of something that is no sweep"):
        run_sweep(load_sweep_config(path), here)


def test_a_table_of_nothing(tmp_path, capsys):
    assert main(["sweep", str(sweep_file(tmp_path)), "--table"]) == 2
    assert "out: holds no sweep" in capsys.readouterr().err


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mollifield_train.cli", "sweep", str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=path.parent
    )


def test_killed_and_continued(tmp_path, capsys):
    """The worker dies with the sweep; the trial goes on from its last epoch."""
    path = sweep_file(tmp_path, {"optimiser": {"epochs": 20}}, trials=1)
    directory = SweepDirectory(tmp_path / "out")
    with start(path) as process:
        deadline = time.monotonic() + PATIENCE
        while len(directory.epochs(0)) < 3:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"the moment to kill never came:\n{process.communicate()[0]}")
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)  # the worker holds the pipe's other end
    before = directory.epochs(0)
    assert directory.result(0) is None and 3 <= len(before) < 20
    assert main(["sweep", str(path)]) == 0
    after = directory.epochs(0)
    assert len(after) == 20 and after[: len(before)] == before  # with the seconds that each took
    assert directory.result(0)["us_per_atom"] > 0.0
    assert not list(directory.path.glob("calculation-*"))
    assert capsys.readouterr().out.splitlines()[-1].startswith("written: ")
