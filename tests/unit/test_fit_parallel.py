"""Members on worker processes: the same numbers as one by one, whatever dies on the way."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mollifield_train.cli import main
from mollifield_train.config import TrainConfig
from mollifield_train.model.samples import member_state
from mollifield_train.tensor_file import read_tensors
from mollifield_train.training.parallel import MAX_DEATHS, WORKERS_FILE, worker_devices
from mollifield_train.training.run import TrainResult, train
from mollifield_train.training.run_directory import LAST_CHECKPOINT

from .fitting import history, labelled_water, later_export, no_export, tiny_config  # noqa: F401  (fixtures)

PATIENCE = 120.0  # seconds until a condition that never comes fails the test
N_EPOCHS = 60


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As the workers have."""
    torch.set_num_threads(1)


def config(directory: Path, name: str, training: str, epochs: int = N_EPOCHS) -> TrainConfig:
    committee = {"n_members": 3, "training": training, "workers": 2, "bootstrap": True}
    optimiser = {"epochs": epochs}
    return tiny_config(directory, labelled_water(12), name, committee=committee, optimiser=optimiser)


def epoch_of(folder: Path) -> int:
    path = folder / LAST_CHECKPOINT
    return int(read_tensors(path)["epoch"]) if path.exists() else 0


def when(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something from another thread as soon as `condition` holds."""

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def kill_one(number: int) -> None:
    """End the worker that began with this member."""
    (process,) = [p for p in multiprocessing.active_children() if p.name == f"trains member {number}"]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)


def same(one: TrainResult, other: TrainResult) -> None:
    first, second = member_state(one.model), member_state(other.model)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert one.metrics == other.metrics


def test_a_killed_worker_changes_no_digit(tmp_path: Path) -> None:
    """Three members on two workers; the second is killed in the middle of its first member."""
    one_by_one = train(config(tmp_path, "one", "one_by_one"), progress=False)
    run, said = tmp_path / "run", []
    killer = when(lambda: epoch_of(run / "members" / "1") >= 5, lambda: kill_one(1))
    parallel = train(config(tmp_path, "run", "parallel"), progress=False, report=said.append)
    killer.join()
    same(one_by_one, parallel)
    for member in ("members/0", "members/1", "members/2"):
        assert history(run / member) == history(tmp_path / "one" / member)
    deaths = [line for line in said if not line.startswith("data: ")]
    assert deaths == ["member 1: its worker was ended by SIGKILL; another goes on from the last checkpoint"]
    assert not (run / WORKERS_FILE).exists()


def test_an_interrupted_run_names_what_is_kept_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = config(tmp_path, "run", "parallel", epochs=400)
    path = tmp_path / "train.yaml"
    path.write_text(wanted.model_dump_json())
    folders = [tmp_path / "run" / "members" / str(k) for k in range(2)]
    sender = when(lambda: min(map(epoch_of, folders)) >= 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["train", str(path)]) == 128 + signal.SIGTERM
    sender.join()
    epochs = [epoch_of(folder) for folder in folders]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mollifield")]
    assert f"epochs {epochs[0]}, {epochs[1]} of 400 are kept in {tmp_path / 'run' / 'members'}" in line
    assert multiprocessing.active_children() == []
    with pytest.raises(ValueError, match="members were trained one by one; committee.training is together, allowed"):
        train(config(tmp_path, "run", "together", epochs=400), resume=True, progress=False)
    assert min(epochs) >= 2 and max(epochs) < 400


def test_what_a_member_cannot_do_is_said_in_a_line(tmp_path: Path) -> None:
    images = labelled_water(8)
    hopeless = tiny_config(
        tmp_path,
        images,
        committee={"n_members": 2, "training": "parallel", "workers": 1},
        optimiser={"learning_rate": 1e300, "gradient_clip": None},
    )
    with pytest.raises(ValueError, match=r"^member 0: loss is not finite at epoch 1, step \d"):
        train(hopeless, progress=False)
    assert multiprocessing.active_children() == []


def test_a_member_whose_workers_always_die_is_given_up(tmp_path: Path) -> None:
    def kill_all() -> None:
        killed: set[int] = set()
        deadline = time.monotonic() + PATIENCE
        while len(killed) < MAX_DEATHS and time.monotonic() < deadline:
            time.sleep(0.05)
            found = {process.pid for process in multiprocessing.active_children() if process.pid} - killed
            for pid in found:
                os.kill(pid, signal.SIGKILL)
            killed |= found

    killer = threading.Thread(target=kill_all)
    killer.start()
    committee = {"n_members": 1, "training": "parallel", "workers": 1}
    with pytest.raises(ChildProcessError, match=r"member 0: its worker was ended by SIGKILL, 3 times without an epoch"):
        train(tiny_config(tmp_path, labelled_water(8), committee=committee), progress=False)
    killer.join()


def test_workers_are_no_more_than_members_cores_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert worker_devices(cpu, 4, None) == [cpu] * 4
    assert worker_devices(cpu, 16, None) == [cpu] * 8
    assert worker_devices(cpu, 16, 12) == [cpu] * 12
    assert [device.index for device in worker_devices(cuda, 8, None)] == [0, 1, 2, 3]
    assert [device.index for device in worker_devices(cuda, 8, 6)] == [0, 1, 2, 3, 0, 1]
    assert [device.index for device in worker_devices(cuda, 3, None)] == [0, 1, 2]
    one = torch.device("cuda", 2)
    assert worker_devices(one, 4, None) == [one]
