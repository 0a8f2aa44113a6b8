"""A loop that is interrupted, damaged or out of disk ends with one line and goes on when started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mollifield_train.active import loop
from mollifield_train.active.config import load_loop_config
from mollifield_train.active.store import LABELLED, Store
from mollifield_train.cli import main
from tests.loop import stub_parts
from tests.loop.test_workers import PATIENCE, ROOT


def write_config(directory: Path) -> Path:
    return stub_parts.write_config(directory, rounds=1, batch=2)


def start(config: Path) -> subprocess.Popen[str]:
    """The loop in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.loop.stub_loop", "loop", str(config)],
        cwd=ROOT,
        text=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_interrupted_at_the_terminal_and_by_the_queue(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole process group; a queue's SIGTERM the loop alone, here."""
    config, run = write_config(tmp_path), tmp_path / "run"
    exploring = [run / arm / "round-1/trajectory-0/started" for arm in ("active", "random")]
    for signum, word, moment in (
        (signal.SIGINT, "interrupted", run / "start/training/started"),
        (signal.SIGTERM, "terminated", exploring[0]),
        (signal.SIGINT, "interrupted", run / "active/round-1/training/started"),
    ):
        with start(config) as process:
            deadline = time.monotonic() + PATIENCE
            while not moment.exists():
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.005)
            if signum == signal.SIGINT:
                os.killpg(process.pid, signum)
            else:
                process.send_signal(signum)
            errors = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 128 + signum
        assert errors == (
            f"mollifield: {word}; labels, models and finished epochs are kept in {run}; "
            "continue with the same command again\n"
        )
        assert not list(run.glob("calculation-*"))
    with start(config) as process:
        errors = process.communicate(timeout=PATIENCE)[1]
    assert (process.returncode, errors) == (0, "")
    assert len(Store(run / "frames.db").frames(arm="active", status=LABELLED)) == 2
    assert not list((run / "labels").iterdir())


@pytest.mark.parametrize(("file", "message"), [("config.json", "damaged, not JSON"), ("frames.db", "not a database")])
def test_a_damaged_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str, message: str
) -> None:
    config = write_config(tmp_path)
    monkeypatch.setattr(loop, "default_parts", stub_parts.make_parts)
    run = tmp_path / "run"
    run.mkdir()
    Store(run / "frames.db")
    (run / "config.json").write_text(load_loop_config(config).model_dump_json())
    (run / file).write_text("{ half a li" * 1000)
    assert main(["loop", str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{run / file}: " in line
    assert message in line
    assert (run / file).read_text() == "{ half a li" * 1000
