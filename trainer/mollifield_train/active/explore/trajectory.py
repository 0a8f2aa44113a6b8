"""What an explorer is asked and what it brings home, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ase import Atoms

from ...durable import read_json, write_json

STEP, TEMPERATURE, MAX_STD, MEAN_STD = "step", "temperature", "max_std", "mean_std"
"""Columns of a trace: whole numbers, K, eV/Å (largest force std of an atom), eV/Å (mean over atoms)."""


def sound(atoms: Atoms) -> str | None:
    """The rule that lets every frame pass."""
    return None


@dataclass(frozen=True)
class Task:
    """One trajectory to run."""

    model: Path
    """Exported committee."""
    start: Atoms
    directory: Path
    """Empty folder for the explorer's own files."""
    seed: int
    select: float
    """Frames whose largest force std is above this are uncertain, eV/Å."""
    stop: float | None
    """The trajectory ends above this, eV/Å."""
    why_unphysical: Callable[[Atoms], str | None] = sound
    """The trajectory ends at a frame for which this gives a reason, whatever the committee says of it."""
    device: str = "cpu"
    """Where the model runs, for explorers that evaluate it in this process."""
    index: int = 0
    """Which trajectory of its round and system."""


@dataclass(frozen=True)
class Trace:
    """What was seen along a trajectory, one entry a look."""

    columns: Mapping[str, list[float]]
    """Lists of one length by name. `STEP` is there; `MAX_STD` is drawn in the report where it is."""
    end: str = "complete"
    """How it ended: `complete`, `stopped` (above `stop`), `unphysical: ...` or `failed: ...`."""

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if STEP not in lengths or len(set(lengths.values())) > 1:
            raise ValueError(f"columns of a trace: {lengths}; there must be '{STEP}', and all of one length")

    @classmethod
    def of(cls, names: Iterable[str]) -> Trace:
        """An empty one with these columns."""
        return cls({name: [] for name in names})

    def __getitem__(self, name: str) -> list[float]:
        return self.columns[name]

    def add(self, row: Mapping[str, float]) -> None:
        """One look more; `row` has a number for each column."""
        for name, column in self.columns.items():
            column.append(row[name])

    @property
    def n_steps(self) -> int:
        """The last step that was looked at."""
        return int(self[STEP][-1]) if self[STEP] else 0

    def before(self, step: int) -> Trace:
        """The looks before a step."""
        kept = [index for index, own in enumerate(self[STEP]) if own < step]
        return replace(self, columns={name: [column[k] for k in kept] for name, column in self.columns.items()})


def write_trace(path: Path, trace: Trace, select: float, system: str = "") -> None:
    """Put a trace into a file, with the threshold (eV/Å) above which frames were uncertain, and the system's name."""
    write_json(path, {"columns": dict(trace.columns), "end": trace.end, "select": select, "system": system})


def system_of(path: Path) -> str:
    """The name of the system whose trace is in a file; empty in a run of one."""
    return str(read_json(path).get("system", ""))


def read_trace(path: Path) -> tuple[Trace, float]:
    """What `write_trace` was given, in this release or an earlier one.

    Raises ValueError: naming the file, which holds something else.
    """
    values: dict[str, Any] = read_json(path)
    try:
        # The first releases had four columns, beside what is no column.
        columns = values["columns"] if "columns" in values else {k: v for k, v in values.items() if isinstance(v, list)}
        return Trace(columns, values["end"]), float(values["select"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the trace of a trajectory: {error!r}") from error


@dataclass(frozen=True)
class Exploration:
    """What one trajectory brought home; every frame has its `step` in `info`.

    Where a trajectory became unphysical, the last frame is the one that shows it.
    """

    trace: Trace
    uncertain: list[Atoms]
    """Frames above `select`."""
    regular: list[Atoms]
    """Frames at regular intervals, whatever their uncertainty."""

    def ended(self, end: str) -> Exploration:
        """The same, but for how it ended."""
        return replace(self, trace=replace(self.trace, end=end))


class Explorer(Protocol):
    """Runs one trajectory; the same task gives the same trajectory. `settings` are of the explorer's own kind."""

    def __call__(self, task: Task, settings: Any) -> Exploration: ...


def unphysical_end(reason: str, step: int) -> str:
    """How a trajectory ends whose frame at `step` is unphysical."""
    return f"unphysical: {reason}, at step {step}"


def cut_unphysical(found: Exploration, why_unphysical: Callable[[Atoms], str | None]) -> Exploration:
    """`found` up to its first unphysical frame, for explorers that cannot look while they run."""
    by_step = {frame.info["step"]: frame for frame in found.uncertain + found.regular}
    for step in sorted(by_step):
        reason = why_unphysical(by_step[step])
        if reason is not None:
            return _cut(found, int(step)).ended(unphysical_end(reason, int(step)))
    return found


def _cut(found: Exploration, last: int) -> Exploration:
    uncertain, regular = (
        [frame for frame in frames if frame.info["step"] <= last] for frames in (found.uncertain, found.regular)
    )
    return Exploration(found.trace.before(last), uncertain, regular)


def snapshot(atoms: Atoms, step: int) -> Atoms:
    """The geometry at a step, and nothing else."""
    frame = Atoms(atoms.numbers, atoms.get_positions(), cell=atoms.cell, pbc=atoms.pbc)
    frame.info["step"] = step
    return frame
