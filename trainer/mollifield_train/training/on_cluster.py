"""Members of a committee on workers that may be anywhere (`clusters`): a call for each, which trains it to its end.

A call whose worker has died is made again, and goes on from the member's checkpoint, so that it loses the epoch that it
was in. What the run shows of the others' progress is what they have written into the run's directory.
"""

import csv
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from mollifield.devices import choose_device

from ..clusters import executor_on
from ..durable import one_after_another, write_bytes
from ..processes import single_threaded_children
from .parallel import MAX_DEATHS, WORKERS_FILE, Task, Told, fit_member, loaded, pickled
from .progress import quiet_lightning
from .run_directory import METRICS_FILE, Row, member_folder

LOOK = 1.0
"""Seconds between two looks at the members' folders."""


def fit_on_cluster(task: Task, n_workers: int, told: Told) -> None:
    """Train all members on `n_workers` of `committee.cluster`; each has its checkpoint at the end.

    Raises ValueError for what a member's training raises it, with the member in front; ChildProcessError where a
    member's calls fail again and again in another way.
    """
    directory = Path(task.config.directory).absolute()
    payload = directory / WORKERS_FILE
    write_bytes(payload, pickled(task))
    waiting, deaths, finished = deque(range(len(task.seeds))), [0] * len(task.seeds), [0] * len(task.seeds)
    running: dict[Future[str | None], int] = {}

    def look(m: int) -> None:
        history = _history(member_folder(directory, m) / METRICS_FILE)
        if len(history) > finished[m]:
            finished[m], deaths[m] = len(history), 0
            told.epoch(m, history)
            told.step(m, _progress(task, history))

    try:
        with (
            single_threaded_children(),
            executor_on(task.config.committee.cluster, n_workers, directory, None) as executor,
        ):
            while waiting or running:
                while waiting and len(running) < n_workers:
                    m = waiting.popleft()
                    told.step(m, _progress(task, _history(member_folder(directory, m) / METRICS_FILE)))
                    running[executor.submit(train_member, str(payload), m)] = m
                done, _ = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
                for m in running.values():
                    look(m)
                for future in done:
                    m = running.pop(future)
                    reason = _failure(future, m)
                    if reason is None:
                        look(m)
                        told.step(m, 1.0)
                        told.done(m)
                        continue
                    deaths[m] += 1
                    if deaths[m] == MAX_DEATHS:
                        raise ChildProcessError(
                            f"member {m}: its worker failed, {MAX_DEATHS} times without an epoch between ({reason}); "
                            "what is done is kept, continue with --resume"
                        )
                    told.death(f"member {m}: its worker failed ({reason}); another goes on from the last checkpoint")
                    waiting.appendleft(m)
    finally:
        payload.unlink(missing_ok=True)


def train_member(payload: str, m: int) -> str | None:
    """On the worker: train, or go on from the checkpoint; what is wrong with the input, if anything is."""
    path = Path(payload)
    folder = member_folder(path.parent, m)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Where a scheduler has lost sight of a worker that lives, the call is made twice.
        with quiet_lightning(), one_after_another(folder / "lock"):
            task, committee = loaded(path)
            fit_member(task, committee, m, path.parent, choose_device(task.config.device))
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _failure(future: Future[str | None], m: int) -> str | None:
    """Why a call has not come to its end; None: it has. Raises ValueError for bad input."""
    try:
        problem = future.result()
    except Exception as error:  # an executor's own, for a dead worker, or a bug, which will come again
        return f"{type(error).__name__}: {error}"
    if problem is not None:
        raise ValueError(f"member {m}: {problem}")
    return None


def _history(path: Path) -> list[Row]:
    """Of a member, as far as it is on disk."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _progress(task: Task, history: list[Row]) -> float:
    """Of a member's run, from 0 to 1."""
    if task.seconds is None:
        return len(history) / task.config.optimiser.epochs
    return min(1.0, sum(row["seconds"] for row in history) / task.seconds)
