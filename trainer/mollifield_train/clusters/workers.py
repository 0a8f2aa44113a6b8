"""Worker processes that end with everything they started: after a timeout, a crash, Ctrl-C, or `kill -9` of the loop.

::

    loop ──── pipe ──── keeper ──── worker ──── what the calculator starts: mpirun, a shell, vasp, ...

The keeper leads a session of its own, so that a Ctrl-C at the terminal reaches the loop alone. It adopts every process
below it that loses its parent. When its worker ends, or the loop's end of the pipe is closed (which the kernel does
however the loop ends), the keeper ends all that is below it, deletes the folder they worked in, and exits.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..durable import SCRATCH
from ..processes import starting_children

_STARTED, _ALIVE, _DONE, _FAILED = "started", "alive", "done", "failed"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_GRACE = 2.0
"""Seconds that programs get to end themselves (mpirun ends its ranks on other machines) before they are killed."""
_HOPELESS = 10.0
"""Seconds after which a process that survives SIGKILL, stuck in the kernel, is given up."""

_loop: Connection | None = None
"""In a worker: its end of the pipe."""


class WorkerDied(BrokenExecutor):
    """The process of one call is gone: it crashed, or took too long and was ended."""


def still_working() -> None:
    """Start the time limit of the call in progress anew, for calls that are many calculations in a row."""
    if _loop is not None:
        _loop.send((_ALIVE, None))


class WorkerPool(ThreadPoolExecutor):
    """An executor whose calls run in worker processes, each in an empty folder; a dead one costs its own call only.

    The calls' functions and arguments must be picklable. A worker is used again as long as it lives.
    """

    def __init__(self, n_workers: int, folder: Path, timeout: float | None) -> None:
        """
        `n_workers`: calls at a time. `folder`: where the workers' folders are made; `durable.remove_leftovers` of it
        deletes what is left there after a power cut. `timeout`: seconds for a call, or between two calls of
        `still_working` in it; None: as long as they take.
        """
        super().__init__(n_workers)
        self._folder = folder.resolve()
        self._timeout = timeout
        self._own = threading.local()
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        """As any executor's; the future raises `WorkerDied` for a call that lost its process."""
        return super().submit(self._run, function, arguments)

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        worker = getattr(self._own, "worker", None) or self._start()
        try:
            return worker.run(function, arguments, self._timeout)
        except WorkerDied:
            self._own.worker = None
            with self._lock:
                self._workers.discard(worker)
            raise

    def _start(self) -> _Worker:
        with self._lock:
            if self._stopping:
                raise WorkerDied("the pool is ending")
            self._own.worker = _Worker(self._folder)
            self._workers.add(self._own.worker)
        return self._own.worker

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers, once their calls are done."""
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            while self._workers:
                self._workers.pop().end()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Wait for all calls; after an exception (Ctrl-C, say) end those in progress."""
        if kind is not None:
            super().shutdown(wait=False, cancel_futures=True)
            with self._lock:
                self._stopping = True
                for worker in self._workers:
                    worker.process.terminate()  # its thread meets the end of the pipe
        super().__exit__(kind, error, trace)


class _Worker:
    """The loop's side of one worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = tempfile.mkdtemp(prefix=SCRATCH, dir=folder)
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # Not a daemon, or calculators could not use multiprocessing.
        self.process = context.Process(target=_keep, args=(theirs, self._folder))
        with starting_children():
            self.process.start()
        theirs.close()

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...], timeout: float | None) -> Any:
        """Call `function` over there; raises what it raises, or `WorkerDied`."""
        limit = None  # starting Python and importing are not the calculation's time
        try:
            self._pipe.send_bytes(pickle.dumps((function, arguments)))
            while self._pipe.poll(limit):
                kind, content = self._pipe.recv()
                if kind == _DONE:
                    return content
                if kind == _FAILED:
                    raise content
                limit = timeout
        except (EOFError, ConnectionError):
            self.end()
            raise WorkerDied(f"the worker died ({_cause(self.process.exitcode)})") from None
        self.end()
        raise WorkerDied(f"ended after {timeout:g} s, the timeout")

    def end(self) -> None:
        """End the worker and all below it, and wait until they are gone."""
        self._pipe.close()
        self.process.join()
        shutil.rmtree(self._folder, ignore_errors=True)  # should the keeper itself have been killed


def _cause(exit_status: int | None) -> str:
    signum = -exit_status if exit_status and exit_status < 0 else (exit_status or 0) - 128
    if signum in set(signal.Signals):
        return signal.Signals(signum).name
    return f"exit status {exit_status}"


def _keep(pipe: Connection, folder: str) -> None:
    """The keeper: fork the worker, wait for one of the two ends, clean up."""
    os.setsid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper, worker = os.getpid(), os.fork()
    if worker == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:
            _work(pipe, folder)
        os._exit(0)
    status = _wait(worker, pipe)
    _end_all_below(worker)
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(128 - status if status < 0 else status)


def _wait(worker: int, pipe: Connection) -> int:
    """Wait until the worker has ended, or is to end; its exit status, -signal, or 0 where it lives."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    asked_to_end = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    poller = select.poll()
    poller.register(pipe.fileno(), 0)  # the other end's closing only; what it says is for the worker
    poller.register(wake, select.POLLIN)
    while True:
        for pid, status in _reaped():  # at once: the worker may have ended before anybody listened
            if pid == worker:
                return status
        if pipe.fileno() in dict(poller.poll()) or asked_to_end:
            return 0
        os.read(wake, 4096)


def _reaped() -> Iterator[tuple[int, int]]:
    """Children, by birth or adopted, that have ended, with their exit status or -signal."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _end_all_below(worker: int) -> None:
    """End every descendant of this process, first politely."""
    for signum, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _HOPELESS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker, signum)  # where there is no /proc
        told: set[int] = set()
        deadline = time.monotonic() + patience
        while (below := _descendants(os.getpid())) and time.monotonic() < deadline:
            for pid in below - told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
            told |= below
            time.sleep(0.01)
            list(_reaped())


def _descendants(ancestor: int) -> set[int]:
    """Ids of living processes below `ancestor`; empty on systems without `/proc`."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything.
            state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(path.parent.name))
    found: set[int] = set()
    front = [ancestor]
    while front:
        front = [child for parent in front for child in children.get(parent, []) if child not in found]
        found |= set(front)
    return found


def _work(pipe: Connection, folder: str) -> None:
    """The worker: call what comes through the pipe, each in an empty folder."""
    global _loop
    _loop = pipe
    os.setpgid(0, 0)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    while True:
        try:
            request = pipe.recv_bytes()
        except EOFError:
            return
        try:
            function, arguments = pickle.loads(request)
            pipe.send((_STARTED, None))
            with _empty_folder(folder):
                reply = _DONE, function(*arguments)
        except Exception as error:  # a calculator may raise anything
            reply = _FAILED, _portable(error)
        pipe.send(reply)


@contextlib.contextmanager
def _empty_folder(parent: str) -> Iterator[None]:
    """Work in an empty folder: calculators that write files use the same names for every frame."""
    folder = tempfile.mkdtemp(dir=parent)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(parent)
        shutil.rmtree(folder, ignore_errors=True)


def _portable(error: Exception) -> Exception:
    """`error`, or its text where it does not survive pickling."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # an exception class may do anything
        return RuntimeError(f"{type(error).__name__}: {error}")


def _prctl(option: int, value: int) -> None:
    """Linux' prctl; elsewhere, orphans of programs that leave their process group are not found."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
