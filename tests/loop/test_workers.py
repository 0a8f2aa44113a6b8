"""Whatever ends a calculation, nothing that it started goes on, and nothing of it is left on the disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk

from mollifield_train.active.label.labelling import label_chosen
from mollifield_train.active.store import FAILED, LABELLED, Store
from mollifield_train.clusters.workers import WorkerDied, WorkerPool, still_working
from mollifield_train.oracle.calculators import AnyAseConfig

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0  # seconds until a condition that never comes fails the test
LABEL = """
import sys
from pathlib import Path
from mollifield_train.interruption import Interrupted, interruptible
from tests.loop.test_workers import label
if __name__ == "__main__":
    try:
        with interruptible():
            label(Path(sys.argv[1]), timeout=1000)
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_status)
"""


def frames() -> list[Atoms]:
    return [bulk("Cu", cubic=True), bulk("Al", cubic=True)]


def label(directory: Path, timeout: float, calculator: str = "StartsPrograms", workers: int = 1) -> Store:
    directory.joinpath("labels").mkdir(exist_ok=True)
    store = Store(directory / "frames.db")
    store.add_given(frames())
    config = AnyAseConfig(
        calculator=f"{__package__}.broken_calculators.{calculator}",
        timeout=timeout,
        retries=1,
        arguments={"log": str(directory / "log")},
        workers=workers,
    )
    label_chosen(store, config, directory / "labels", "given")
    return store


def started(log: Path) -> list[int]:
    """The process ids in `log`, and those of their children."""
    found = [int(line) for line in log.read_text().split()] if log.exists() else []
    return found + [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if (stat := read(path)) and int(stat.rpartition(")")[2].split()[1]) in found
    ]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # ended meanwhile
        return ""


def alive(pid: int) -> bool:
    return read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[:1] not in ([], ["Z"])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_a_timeout_ends_all_that_the_calculator_started(tmp_path: Path) -> None:
    store = label(tmp_path, timeout=1.0)
    assert [row.columns["status"] for row in store.frames()] == [FAILED, LABELLED]
    programs = started(tmp_path / "log")
    assert len(programs) == 4  # of two attempts
    assert not any(alive(pid) for pid in programs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.db", "labels", "log"]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_loop_that_is_ended_leaves_no_orphan(tmp_path: Path, signum: signal.Signals) -> None:
    loop = subprocess.Popen(
        [sys.executable, "-c", LABEL, str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with loop:
        wait_until(lambda: len(started(tmp_path / "log")) == 4)  # two shells, two sleeps
        programs = started(tmp_path / "log")
        loop.send_signal(signum)
        _, errors = loop.communicate(timeout=PATIENCE)
    assert loop.returncode == (-9 if signum == signal.SIGKILL else 128 + signum)
    assert errors == ""
    wait_until(lambda: not any(alive(pid) for pid in programs))
    wait_until(lambda: not list(tmp_path.glob("calculation-*")))


def test_a_dead_worker_costs_its_own_frame_only(tmp_path: Path) -> None:
    """The other worker's calculation goes on: it is finished once, and only after the first has died twice."""

    def mark_death(_: object) -> None:
        (tmp_path / "log.dead").touch()

    tmp_path.joinpath("labels").mkdir()
    store = Store(tmp_path / "frames.db")
    store.add_given(frames())
    config = AnyAseConfig(
        calculator=f"{__package__}.broken_calculators.KillsTheSecond",
        retries=1,
        workers=2,
        arguments={"log": str(tmp_path / "log")},
    )
    label_chosen(store, config, tmp_path / "labels", "given", report=mark_death)
    failed, labelled = store.frames()
    assert "the worker died (SIGKILL)" in failed.columns["reason"]
    assert (failed.columns["calls"], labelled.columns["calls"]) == (2, 1)
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def steps(n: int, sign_of_life: bool) -> int:
    for _ in range(n):
        time.sleep(0.2)
        if sign_of_life:
            still_working()
    return n


def test_the_limit_is_for_each_calculation_of_a_dynamics(tmp_path: Path) -> None:
    with WorkerPool(1, tmp_path, timeout=1.0) as pool:
        assert pool.submit(steps, 8, True).result() == 8
        with pytest.raises(WorkerDied, match="ended after 1 s"):
            pool.submit(steps, 8, False).result()
        assert pool.submit(steps, 1, False).result() == 1  # by a new worker


def give_up() -> None:
    raise ZeroDivisionError("by hand")


def test_errors_come_back_as_they_are(tmp_path: Path) -> None:
    with WorkerPool(1, tmp_path, timeout=9.0) as pool, pytest.raises(ZeroDivisionError, match="by hand"):
        pool.submit(give_up).result()
