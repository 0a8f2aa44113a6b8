"""Ctrl-C and SIGTERM: the exit status, and one line that says what is kept."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mollifield_train.cli import main
from mollifield_train.durable import read_json, replacing
from mollifield_train.interruption import Interrupted, interruptible
from mollifield_train.tensor_file import read_tensors
from mollifield_train.training.run_directory import LAST_CHECKPOINT

from .fitting import labelled_water, tiny_config

PATIENCE = 120.0  # seconds until a condition that never comes fails the test


@pytest.fixture(autouse=True)
def heeding_ctrl_c():
    """What a shell puts into the background ignores SIGINT, and so does all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send_when(signum: signal.Signals, condition: Callable[[], bool]) -> threading.Thread:
    """Send `signum` to this process, from another thread, as soon as `condition` holds."""

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signum)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def config_file(directory: Path, epochs: int) -> Path:
    config = tiny_config(directory, labelled_water(12), optimiser={"epochs": epochs})
    path = directory / "train.yaml"
    path.write_text(config.model_dump_json())  # JSON is YAML
    return path


# A signal may come between the opening of a file and the block that closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("training", ["together", "one_by_one"])
@pytest.mark.parametrize(("signum", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_an_interrupted_training_says_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], signum: signal.Signals, word: str, training: str
) -> None:
    folder = tmp_path / "run" / ("members/0" if training == "one_by_one" else "")
    checkpoint = folder / LAST_CHECKPOINT
    path = config_file(tmp_path, epochs=5000)
    sender = send_when(signum, lambda: checkpoint.exists() and read_tensors(checkpoint)["epoch"] >= 2)
    assert main(["train", str(path), "--set", f"committee.training={training}"]) == 128 + signum
    sender.join()
    epoch = read_tensors(checkpoint)["epoch"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mollifield")]
    assert line == f"mollifield: {word}; epoch {epoch} of 5000 is kept in {folder}; continue with --resume"
    assert signal.getsignal(signum) in (signal.SIG_DFL, signal.default_int_handler)


def test_before_the_first_epoch_there_is_nothing_to_continue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **more: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)

    monkeypatch.setattr("mollifield_train.training.run._fit", interrupted)
    assert main(["train", str(config_file(tmp_path, epochs=5))]) == 143
    assert f"no epoch was finished in {tmp_path / 'run'}; start again" in capsys.readouterr().err


def test_a_second_signal_does_not_disturb_the_clearing_up() -> None:
    cleared = []
    with pytest.raises(Interrupted), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleared.append(True)
    assert cleared


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible():
        os.kill(os.getpid(), signal.SIGINT)


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    precious = tmp_path / "last.ckpt"
    precious.write_text("epoch 1")
    with pytest.raises(OSError, match=r"No space left on device: '.*last\.ckpt'"), replacing(precious) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("epoch 2" * 10_000)
    assert precious.read_text() == "epoch 1"
    assert list(tmp_path.iterdir()) == [precious]


def test_a_training_on_a_full_disk_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files stands for the disk: 8 KiB are enough for the config, not for a checkpoint."""
    resource = pytest.importorskip("resource")
    path = config_file(tmp_path, epochs=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        assert main(["train", str(path)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mollifield")]
    assert "File too large" in line
    assert str(tmp_path / "run" / LAST_CHECKPOINT) in line


def test_damaged_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"rounds": 3, \xff')
    with pytest.raises(ValueError, match=r"config\.json: damaged, not JSON"):
        read_json(path)
