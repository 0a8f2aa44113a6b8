"""kill -9 at any moment: no label is lost, none is computed twice, and the result is the same."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mollifield_train.active.store import CHOSEN, LABELLED, Store
from mollifield_train.durable import only_process, read_json, remove_leftovers, replacing
from tests.loop import stub_parts

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0  # seconds until a condition that never comes fails the test


def start(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.loop.stub_loop", "loop", str(directory / "loop.yaml")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def run_to_the_end(directory: Path) -> str:
    with start(directory) as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def kill_when(directory: Path, condition: Callable[[], bool]) -> None:
    """Start the loop, and kill it (not its children) as soon as `condition` holds."""
    with start(directory) as process:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"the moment to kill never came:\n{process.communicate()[0]}")
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        # Children hold the pipe's other end: it closes when the last of them is gone.
        process.communicate(timeout=PATIENCE)


def labels(directory: Path) -> dict[str, tuple[str, float]]:
    """(arm, energy) of every labelled frame by its key."""
    return {
        frame.columns["arm"] + frame.columns["content"]: frame.atoms.get_potential_energy()
        for frame in Store(directory / "run" / "frames.db").frames(status=LABELLED)
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    stub_parts.write_config(directory)
    run_to_the_end(directory)
    return directory


def test_killed_four_times(uninterrupted: Path, tmp_path: Path) -> None:
    stub_parts.write_config(tmp_path)
    run = tmp_path / "run"
    active = run / "active"

    def rows(**where: object) -> int:
        return len(Store(run / "frames.db").frames(**where)) if (run / "frames.db").exists() else 0

    moments = {
        "first training and test set": lambda: rows(arm="test") == 2,
        "exploration": lambda: (active / "round-1/trajectory-1/started").exists(),
        "labelling": lambda: (
            rows(arm="active", round=1, status=LABELLED) == 1 and rows(arm="active", round=1, status=CHOSEN) == 2
        ),
        "training": lambda: (active / "round-2/training/started").exists(),
    }
    for condition in moments.values():
        kill_when(tmp_path, condition)
    run_to_the_end(tmp_path)

    assert labels(tmp_path) == labels(uninterrupted)
    assert read_json(run / "rounds.json") == read_json(uninterrupted / "run" / "rounds.json")
    calls = Counter((tmp_path / "calls").read_text().split())
    stored = Counter(f.columns["content"] for f in Store(run / "frames.db").frames(status=LABELLED))
    # Both arms start from one model: a frame that both chose is computed by one of them. A kill may come between the
    # end of a calculation and its label's way to the disk; that costs the one in flight of each arm, once.
    twice = {key: n for key, n in calls.items() if key in stored and n > 1}
    assert len(twice) <= 2 and all(n == 2 for n in twice.values()), twice
    assert not list((run / "labels").iterdir())
    assert not list(run.rglob(".*"))


def test_leftovers_of_killed_writers(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("frames.db-journal", "model.pt", ".hidden", "a.123.pt")]
    with replacing(tmp_path / "model.pt") as temporary:
        temporary.touch()
        left = temporary.with_name(temporary.name)
    for path in [*kept, left]:
        path.touch()
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_finished_run_calls_nobody(uninterrupted: Path) -> None:
    before = (uninterrupted / "calls").read_text()
    results = read_json(uninterrupted / "run" / "rounds.json")
    output = run_to_the_end(uninterrupted)
    assert "all rounds are done" in output
    assert (uninterrupted / "calls").read_text() == before
    assert read_json(uninterrupted / "run" / "rounds.json") == results


def test_arms_get_equal_numbers_of_labels(uninterrupted: Path) -> None:
    results = read_json(uninterrupted / "run" / "rounds.json")
    for number in range(3):
        first, second = (row for row in results if row["round"] == number)
        assert first["n_frames"] == second["n_frames"] == 2 + 3 * number
        assert first["oracle_calls"] == second["oracle_calls"]


def test_two_loops_in_one_directory(tmp_path: Path) -> None:
    with (
        only_process(tmp_path / "lock"),
        pytest.raises(ValueError, match="another loop is running"),
        only_process(tmp_path / "lock"),
    ):
        pass
