"""Child processes with one thread each that never outlive whoever started them."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

from .interruption import SIGNALS, Interrupted, interruptible

_BAD_INPUT = 2
"""Exit status of a job that met bad input."""


def n_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def exit_with_parent() -> None:
    """End this child process as soon as its parent is gone, even if the parent was killed.

    Without it a killed loop leaves workers that go on labelling what the restarted loop labels too.
    The sentinel is a pipe that the kernel closes with the parent, so there is nothing to poll.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def single_threaded_children() -> Iterator[None]:
    """Processes started in the block get one thread each; more threads than cores slow all down."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def starting_children() -> Iterator[None]:
    """Processes started in the block are deaf to Ctrl-C and SIGTERM until they listen themselves.

    Python would print a traceback for a signal that meets it while it imports. A signal for this process comes through
    when the block ends.
    """
    resource_tracker.ensure_running()  # or the first start of a process would do it, and let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class Job:
    """A call to make in a process of its own; everything in it must be picklable."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]


def run_together(jobs: Sequence[Job]) -> None:
    """Run jobs at the same time, and wait for all of them.

    The first that fails ends the others: what they have finished is on disk.

    Raises ValueError: a job met bad input; its message, with the job's name in front. Raises Interrupted: a job was
    (and perhaps this process is about to be). Raises ChildProcessError: a job was killed. Raises RuntimeError: a job
    failed in another way; its traceback is on stderr.
    """
    context = multiprocessing.get_context("spawn")
    running: dict[Any, tuple[Any, Any]] = {}
    try:
        for job in jobs:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(job, theirs), name=job.name)
            with single_threaded_children(), starting_children():
                process.start()
                theirs.close()
                running[process.sentinel] = process, ours
        while running:
            for sentinel in multiprocessing.connection.wait(list(running)):
                process, message = running.pop(sentinel)
                _check(process, message)
    finally:
        for process, message in running.values():
            process.terminate()
            process.join()
            message.close()


def _check(process: Any, message: Any) -> None:
    process.join()
    with message:
        if process.exitcode == _BAD_INPUT and message.poll():
            raise ValueError(f"{process.name}: {message.recv()}")
    if process.exitcode in [128 + signum for signum in SIGNALS]:
        raise Interrupted(process.exitcode - 128)
    if process.exitcode < 0:
        cause = signal.Signals(-process.exitcode).name
        raise ChildProcessError(f"{process.name} was ended by {cause}; what is done is kept, start again to go on")
    if process.exitcode != 0:
        raise RuntimeError(f"{process.name} failed with exit status {process.exitcode}")


def _child(job: Job, message: Any) -> None:
    exit_with_parent()
    try:
        with interruptible():
            job.function(*job.arguments)
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_status)  # the loop says what there is to say
    except (ValueError, OSError) as error:
        message.send(str(error))
        sys.exit(_BAD_INPUT)
