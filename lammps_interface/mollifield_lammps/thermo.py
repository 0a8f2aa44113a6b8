"""Thermo output of LAMMPS: as arrays when a run is over, as a progress bar while it goes on."""

import sys
import time
from types import TracebackType
from typing import TextIO

import numpy as np
from tqdm import tqdm

from .data import PICOSECOND

DAY = 86400.0  # s


class ThermoReader:
    """Finds thermo tables (style one or custom) in output that comes line by line.

    After `feed`, `columns` are the names of the present table and `inside` says whether it goes on.
    """

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.inside = False
        self._header_next = False

    def feed(self, line: str) -> list[float] | None:
        """Take one line; the numbers of a row, None for any other line."""
        words = line.split()
        if words and (self._header_next or words[0] == "Step") and not words[0].startswith("---"):
            self.columns, self.inside = words, True
            self._header_next = False
        elif line.startswith("Per MPI rank memory"):
            self._header_next = True
        elif line.startswith("Loop time of"):
            self.inside = False
        elif self.inside and len(words) == len(self.columns):
            return _numbers(words)
        return None


def read_thermo(text: str) -> dict[str, np.ndarray]:
    """Thermo columns of a log. Blocks with other columns than the last one are left out."""
    reader = ThermoReader()
    columns: list[str] = []
    rows: list[list[float]] = []
    for line in text.splitlines():
        row = reader.feed(line)
        if reader.columns != columns:
            columns, rows = reader.columns, []
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


class ThermoBar:
    """One bar for each `run` or `minimize` of a deck: steps, ns/day, temperature.

    Give it to `run_lammps` as `progress`, which passes it LAMMPS's output line by line. `file` is where the bar
    is drawn, by default standard error. Where a deck switches `echo` off, the number of steps is unknown.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = sys.stderr if file is None else file
        self._reader = ThermoReader()
        self._bar: tqdm | None = None
        self._command: list[str] = []
        self._units, self._timestep = "", 0.0
        self._first_step, self._start = 0, 0.0

    def __enter__(self) -> "ThermoBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, line: str) -> None:
        """Take one line of output."""
        words = line.split()
        if words[:1] in (["run"], ["minimize"]):
            self._command = words  # the last one that comes is the one with its variables filled in
        elif words[:3] == ["Unit", "style", ":"]:
            self._units = words[3]
        elif words[:3] == ["Time", "step", ":"]:
            self._timestep = float(words[3])
        row = self._reader.feed(line)
        if row is not None and "Step" in self._reader.columns:
            self._show(dict(zip(self._reader.columns, row, strict=True)))
        elif self._bar is not None and not self._reader.inside:
            self.close()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, row: dict[str, float]) -> None:
        step = int(row["Step"])
        if self._bar is None:
            self._first_step, self._start = step, time.monotonic()
            self._bar = tqdm(
                desc=self._command[0] if self._command else "run",
                total=self._n_steps(step),
                unit="step",
                file=self._file,
                mininterval=0.5 if self._file.isatty() else 10.0,
                dynamic_ncols=True,
            )
        notes = [f"{self._speed(step):.3g} ns/day"] if self._speed(step) else []
        notes += [f"{row['Temp']:.0f} K"] if "Temp" in row else []
        self._bar.set_postfix_str(", ".join(notes), refresh=False)
        self._bar.update(step - self._first_step - self._bar.n)

    def _n_steps(self, step: int) -> int | None:
        """Steps from `step` on that the last command asked for (for `minimize` at most), None if unknown."""
        words = self._command
        position = 1 if words[:1] == ["run"] else 3
        if len(words) <= position or not words[position].isdigit():
            return None
        return int(words[position]) - (step if "upto" in words else 0)

    def _speed(self, step: int) -> float:
        """ns/day since the run began; 0 where there is no such number."""
        elapsed = time.monotonic() - self._start
        if self._units not in PICOSECOND or self._command[:1] != ["run"] or elapsed <= 0.0:
            return 0.0
        return (step - self._first_step) * self._timestep / (1e3 * PICOSECOND[self._units]) / elapsed * DAY
