"""Members of a committee on worker processes: a core each, or a GPU each.

A worker trains one member after the other, as `one_by_one` does with one thread, to the same last digit. A worker that
dies loses the epoch that it was in: another goes on from the member's checkpoint.
"""

import contextlib
import dataclasses
import io
import multiprocessing
import multiprocessing.connection
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor

from ..config import TrainConfig
from ..durable import write_bytes
from ..interruption import Interrupted, interruptible
from ..model import build
from ..model.architecture import Architecture
from ..model.protocol import Potential
from ..model.samples import load_member_state, one_member
from ..processes import exit_with_parent, n_cores, single_threaded_children, starting_children
from .lightning_fit import fit_members
from .loading import TrainingData
from .progress import quiet_lightning
from .run_directory import Row, RunDirectory

_STEP, _EPOCH, _DONE, _FAILED = "step", "epoch", "done", "failed"
_BAD_INPUT = 2
"""Exit status of a worker that has said what is wrong."""
_INTERVAL = 0.3
"""Seconds between two words of a worker about its steps."""
WORKERS_FILE = "workers.pickle"
"""In the run's directory while workers are at work: a pipe would have each wait for the other's imports."""
MAX_DEATHS = 3
"""Deaths of a member's workers, without an epoch between them, after which it is given up."""


class Told(NamedTuple):
    """Who hears of the members' training."""

    step: Callable[[int, float], None]
    """Of a member, and how much of its run is over (0 to 1)."""
    epoch: Callable[[int, Sequence[Row]], None]
    """Of a member, and all epochs that it has finished."""
    done: Callable[[int], None]
    """Of a member whose run is over."""
    death: Callable[[str], None]
    """A line about a worker that died."""


@dataclasses.dataclass(frozen=True)
class Task:
    """All that a worker has to know."""

    config: TrainConfig
    data: TrainingData
    architecture: Architecture
    """Of the whole committee."""
    state: dict[str, Tensor]
    """Its members' initial weights."""
    seeds: Sequence[int]
    seconds: float | None
    """For one member's run; None: it has epochs."""


def worker_devices(device: torch.device, n_members: int, asked: int | None) -> list[torch.device]:
    """Where each worker computes: on one core each, or on the GPUs by turns.

    `asked`: number of workers; None for as many as there are cores or GPUs, and no more than members.
    """
    cuda = device.type == "cuda" and device.index is None
    places = [torch.device("cuda", k) for k in range(torch.cuda.device_count())] if cuda else [device]
    n = min(n_members, asked or (n_cores() if device.type == "cpu" else len(places)))
    return [places[k % len(places)] for k in range(n)]


def fit_in_processes(task: Task, devices: Sequence[torch.device], told: Told) -> None:
    """Train all members; each has its checkpoint at the end.

    Raises ValueError for what a member's training raises it, with the member in front, ChildProcessError where a
    member's workers die again and again, and RuntimeError where one failed in another way (its traceback is on stderr).
    """
    payload = Path(task.config.directory) / WORKERS_FILE
    write_bytes(payload, pickled(task))
    waiting = deque(range(len(task.seeds)))
    deaths, finished = dict.fromkeys(waiting, 0), dict.fromkeys(waiting, 0)
    workers: dict[Connection, _Worker] = {}
    free = list(devices)
    try:
        while waiting or workers:
            while waiting and free:
                worker = _Worker(payload, free.pop(0), waiting.popleft())
                workers[worker.pipe] = worker
            for pipe in multiprocessing.connection.wait(list(workers)):
                assert isinstance(pipe, Connection)
                worker = workers[pipe]
                message = worker.heard()
                if message is None:
                    del workers[pipe]
                    free.append(worker.device)
                    deaths[worker.member] += 1
                    told.death(worker.obituary(deaths[worker.member]))
                    waiting.appendleft(worker.member)
                    continue
                kind, content = message
                if kind == _STEP:
                    told.step(worker.member, content)
                elif kind == _EPOCH:
                    if len(content) > finished[worker.member]:
                        deaths[worker.member], finished[worker.member] = 0, len(content)
                    told.epoch(worker.member, content)
                else:
                    told.step(worker.member, 1.0)
                    told.done(worker.member)
                    if waiting:
                        worker.take(waiting.popleft())
                    else:
                        worker.end()
                        del workers[pipe]
    finally:
        for worker in workers.values():
            worker.process.terminate()
        for worker in workers.values():
            worker.end()
        payload.unlink(missing_ok=True)


def death_of(process: Any) -> str:
    """What ended it: the name of a signal, or its exit status."""
    status = process.exitcode or 0
    signum = -status if status < 0 else status - 128
    return signal.Signals(signum).name if signum in set(signal.Signals) else f"exit status {status}"


class _Worker:
    """The run's side of a worker process."""

    def __init__(self, payload: Path, device: torch.device, member: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.device = device
        self.process = context.Process(target=_work, args=(theirs, payload, device), name=f"trains member {member}")
        with single_threaded_children(), starting_children():
            self.process.start()
        theirs.close()
        self.take(member)

    def take(self, member: int) -> None:
        """Train this member next."""
        self.member = member
        with contextlib.suppress(OSError):  # it has died: the pipe's end will say so
            self.pipe.send(member)

    def heard(self) -> tuple[str, Any] | None:
        """What it says; None where it has died. Raises as `fit_in_processes` does."""
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # what a killed process has half said
            self.end()
            if self.process.exitcode == 1:  # Python's own: a bug, which would come again
                raise RuntimeError(f"member {self.member}: its worker failed") from None
            return None
        if kind == _FAILED:
            raise ValueError(f"member {self.member}: {content}")
        return kind, content

    def obituary(self, n_deaths: int) -> str:
        """A line about its death. Raises ChildProcessError after too many."""
        cause = death_of(self.process)
        if n_deaths >= MAX_DEATHS:
            raise ChildProcessError(
                f"member {self.member}: its worker was ended by {cause}, {n_deaths} times without an epoch between; "
                "what is done is kept, continue with --resume"
            )
        return f"member {self.member}: its worker was ended by {cause}; another goes on from the last checkpoint"

    def end(self) -> None:
        """Wait until it has ended, which it does when nobody speaks to it any more."""
        self.pipe.close()
        self.process.join()


class _Reporter(lightning.Callback):
    """Says now and then how far a fit is."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._last = 0.0

    def epoch(self, history: Sequence[Row]) -> None:
        """One more of a member is on disk."""
        self._pipe.send((_EPOCH, list(history)))

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Where a continued run stands."""
        self._pipe.send((_STEP, module.progress))

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """Not after each step, which may take a millisecond."""
        if time.monotonic() - self._last > _INTERVAL:
            self._last = time.monotonic()
            self._pipe.send((_STEP, min(1.0, module.progress)))


def _work(pipe: Connection, payload: Path, device: torch.device) -> None:
    """The worker: train the members that the pipe names, until it is closed."""
    exit_with_parent()
    try:
        with interruptible(), quiet_lightning():
            task, committee = loaded(payload)
            while True:
                try:
                    member = pipe.recv()
                except EOFError:
                    return
                fit_member(task, committee, member, payload.parent, device, _Reporter(pipe))
                pipe.send((_DONE, None))
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_status)
    except (ValueError, OSError) as error:
        pipe.send((_FAILED, str(error)))
        sys.exit(_BAD_INPUT)


def loaded(payload: Path) -> tuple[Task, Potential]:
    """What workers have to know, and the committee before its training."""
    task: Task = pickle.loads(payload.read_bytes())
    committee = build(task.architecture)
    load_member_state(committee, task.state)
    return task, committee


def fit_member(
    task: Task, committee: Potential, m: int, directory: Path, device: torch.device, reporter: _Reporter | None = None
) -> None:
    """Train member m to its end, or go on from its checkpoint in the run's `directory`."""
    folder = RunDirectory(directory).fit_folder(task.config, task.data.provenance(), m)
    if reporter is not None:
        folder = dataclasses.replace(folder, watch=reporter.epoch)
        if folder.checkpoint is not None:
            reporter.epoch(folder.checkpoint["history"])
    model, seeds = one_member(committee, m), [task.seeds[m]]
    fit_members(task.config, task.data, model, seeds, folder, device, reporter, task.seconds)


def pickled(content: Any) -> bytes:
    """Tensors go as arrays: torch's own way takes far longer for the many small ones of graphs."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(content)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented
