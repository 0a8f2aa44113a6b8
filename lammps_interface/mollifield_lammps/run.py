"""Run LAMMPS decks as child processes and read their thermo output."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mollifield_lammps.locate import lammps_command

LOG_NAME = "log.lammps"
DECK_NAME = "in.lammps"
STOP_LINE = "Fix mollifield/uncertainty: run stopped at step"
_TAIL = 20  # lines of output shown when LAMMPS dies without an ERROR line


class LammpsError(RuntimeError):
    """LAMMPS failed; the message holds its own ERROR line and the input line it stopped at."""


@dataclass
class RunResult:
    """What a finished run left behind.

    thermo: one array per thermo column, all `run`s of the deck that print these columns one after the
    other, in LAMMPS units. stopped: fix mollifield/uncertainty ended the run before its last step.
    """

    log: Path
    thermo: dict[str, np.ndarray] = field(default_factory=dict)
    stopped: bool = False


def read_thermo(text: str) -> dict[str, np.ndarray]:
    """Thermo columns of a log. Blocks with other columns than the last one are left out."""
    columns: list[str] = []
    rows: list[list[float]] = []
    inside = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            rows = rows if words == columns else []
            columns, inside = words, True
        elif line.startswith("Loop time of"):
            inside = False
        elif inside and len(words) == len(columns):
            row = _numbers(words)
            if row is not None:
                rows.append(row)
    if not columns:
        return {}
    table = np.array(rows, dtype=float).reshape(-1, len(columns))
    return {name: table[:, k] for k, name in enumerate(columns)}


def _numbers(words: list[str]) -> list[float] | None:
    """`words` as numbers, None for a line of text (a warning) between thermo lines."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _error_message(output: list[str], code: int) -> str:
    errors = [k for k, line in enumerate(output) if "ERROR" in line]
    if not errors:
        return f"LAMMPS ended with exit code {code}; its last output:\n" + "\n".join(output[-_TAIL:])
    lines = [output[errors[0]]]
    for line in output[errors[0] + 1 : errors[0] + 6]:
        if re.match(r"(Last input line|Last command|For more information|\s*\^+|---)", line) and "http" not in line:
            lines.append(line)
    return "\n".join(lines)


def _command(deck: Path, n_ranks: int, variables: dict | None) -> list[str]:
    command = [*lammps_command(n_ranks), "-in", deck.name, "-log", LOG_NAME]
    for name, value in (variables or {}).items():
        command += ["-var", name, *(map(str, value) if isinstance(value, (list, tuple)) else [str(value)])]
    return command


def _write_deck(deck, directory: Path) -> Path:
    """The deck as a file inside `directory`, where relative paths in it count from."""
    text = deck.read_text() if isinstance(deck, Path) else deck
    if isinstance(deck, str) and "\n" not in deck:
        text = Path(deck).read_text()
    path = directory / DECK_NAME
    path.write_text(text)
    return path


def run_lammps(
    deck,
    directory,
    n_ranks: int = 1,
    variables: dict | None = None,
    progress: Callable[[str], None] | None = None,
) -> RunResult:
    """Run LAMMPS in `directory` (made if missing) and wait for it.

    deck: text of an input script (with at least one newline), or the path of one. variables: `-var`
    names and values. progress: called with every line of output as it comes. Threads of each rank are
    1 unless OMP_NUM_THREADS says otherwise. The child ends with this call, also on Ctrl-C. Raises
    LammpsError with LAMMPS's own message and input line.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    command = _command(_write_deck(deck, directory), n_ranks, variables)
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    output: list[str] = []
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", bufsize=1, start_new_session=True,
    ) as child:  # fmt: skip
        try:
            for line in child.stdout:
                output.append(line.rstrip("\n"))
                if progress is not None:
                    progress(output[-1])
            code = child.wait()
        except BaseException:
            _end(child)
            raise
    if code != 0 or any(line.startswith("ERROR") for line in output):
        raise LammpsError(_error_message(output, code))
    log = directory / LOG_NAME
    return RunResult(log, read_thermo(log.read_text()), any(line.startswith(STOP_LINE) for line in output))


def _end(child: subprocess.Popen) -> None:
    """End the launcher together with LAMMPS, which it started: they form one process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(timeout=5)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
