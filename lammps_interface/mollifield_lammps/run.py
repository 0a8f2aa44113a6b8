"""Run LAMMPS decks as child processes."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .input_lines import InputPosition
from .locate import lammps_command, lammps_environment
from .thermo import read_thermo

LOG_NAME = "log.lammps"
PARTITION_LOG = "log.partition"
DECK_NAME = "in.lammps"
STOP_LINE = "Fix mollifield/uncertainty: run stopped at step"
QUOTE = "Last input line: "
_TAIL = 20  # lines of output shown when LAMMPS dies without an ERROR line

# LAMMPS in one process group with a watcher that ends the group once standard input closes, as the kernel closes it
# when the caller is killed. The `lmp` of the wheel is a launcher: where that alone is killed, what it started is the
# rest of the group. The shell outlives a SIGTERM until LAMMPS (or mpirun, which has its ranks to end) is gone.
_GUARD = """
trap : TERM
exec 3<&0 </dev/null
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
"$@" 3<&-
code=$?
trap '' TERM
kill -TERM 0
wait
exit $code
"""


class LammpsError(RuntimeError):
    """LAMMPS failed; the message holds its own ERROR line, the command it stopped at, and where that stands."""


@dataclass
class RunResult:
    """What a finished run left behind.

    log: all that LAMMPS printed, commands included. thermo: one array per thermo column, all runs of
    the deck that print these columns one after the other, in LAMMPS units. stopped: fix
    mollifield/uncertainty ended the run before its last step.
    """

    log: Path
    thermo: dict[str, np.ndarray] = field(default_factory=dict)
    stopped: bool = False


def _error_message(output: list[str], code: int, position: InputPosition) -> str:
    errors = [k for k, line in enumerate(output) if "ERROR" in line]
    if not errors:
        return f"LAMMPS ended with exit code {code}; its last output:\n" + "\n".join(output[-_TAIL:])
    lines = [output[errors[0]]]
    place = position.current
    for line in output[errors[0] + 1 : errors[0] + 6]:
        if line.startswith(QUOTE):
            place = position.locate(line.removeprefix(QUOTE))
        elif not re.match(r"(Last command|For more information|-->|\s*\^+)", line) or "http" in line:
            continue
        lines.append(line)
    return "\n".join(lines if place is None else [*lines, f"in {place}"])


def _command(deck: Path, n_ranks: int, n_partitions: int, variables: Mapping[str, Any] | None) -> list[str]:
    """With echo, so that errors can be placed. LAMMPS's own log is buffered and lost when it is ended: ours is not."""
    guard = ["/bin/sh", "-c", _GUARD, "lammps"]
    lammps = lammps_command(n_ranks * n_partitions)
    command = [*guard, *lammps, "-in", deck.name, "-log", "none", "-echo", "screen", "-nonbuf"]
    if n_partitions > 1:
        command += ["-partition", f"{n_partitions}x{n_ranks}", "-plog", PARTITION_LOG, "-pscreen", "none"]
    for name, value in (variables or {}).items():
        command += ["-var", name, *(map(str, value) if isinstance(value, (list, tuple)) else [str(value)])]
    return command


def _write_deck(deck: str | Path, directory: Path) -> tuple[Path, Path]:
    """The deck as a file inside `directory`, where relative paths in it count from; and its name for people."""
    written = directory / DECK_NAME
    if isinstance(deck, str) and "\n" in deck:
        written.write_text(deck)
        return written, written
    written.write_text(Path(deck).read_text())
    return written, Path(deck)


def run_lammps(
    deck: str | Path,
    directory: str | Path,
    n_ranks: int = 1,
    variables: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
    n_partitions: int = 1,
) -> RunResult:
    """Run LAMMPS in `directory` (made if missing) and wait for it.

    deck: text of an input script (with at least one newline), or the path of one. variables: `-var`
    names and values. progress: called with every line of output as it comes, commands included; a `ThermoBar`
    makes a progress bar of them. Threads of each rank are 1 unless OMP_NUM_THREADS says otherwise. n_partitions:
    copies of the system that LAMMPS runs side by side, with `n_ranks` each; each has a log of its own,
    `log.partition.0` and so on, and what comes back has no thermo.

    LAMMPS ends with this call, on Ctrl-C, and with this process, also on `kill -9`: what it has written until then
    stays, and `read_thermo` reads its log. Raises LammpsError with LAMMPS's own message, its command, and the file
    and line of that command.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    written, source = _write_deck(deck, directory)
    position = InputPosition(source, directory)
    output: list[str] = []
    path = directory / LOG_NAME
    with (
        path.open("w", buffering=1) as log,
        subprocess.Popen(
            _command(written, n_ranks, n_partitions, variables),
            cwd=directory,
            env=lammps_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
        ) as child,
    ):
        try:
            for line in child.stdout or ():
                log.write(line)
                output.append(line.rstrip("\n"))
                position.feed(output[-1])
                if progress is not None:
                    progress(output[-1])
            code = child.wait()
        except BaseException:
            _end(child)
            raise
    if code != 0 or any(line.startswith("ERROR") for line in output):
        raise LammpsError(_error_message(output, code, position))
    return RunResult(path, read_thermo("\n".join(output)), any(line.startswith(STOP_LINE) for line in output))


def _end(child: subprocess.Popen[str]) -> None:
    """End guard, launcher and LAMMPS: they form one process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(timeout=5)
            return
        except ProcessLookupError:
            return
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: no more patience
            continue
