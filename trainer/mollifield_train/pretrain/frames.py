"""Labelled frames of many short trajectories, made in parallel and kept as they come.

Energies of two reference methods differ by constants for each species, which mean nothing. They are taken from the
frames that trajectories start from, whose labels there are by both methods, so that the frames may be learnt beside the
given ones with the same shifts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from ..config import PretrainConfig
from ..data.frames import Frame
from ..data.shifts import least_absolute_shifts
from ..data.statistics import species_of
from ..data.summary import Summary
from ..durable import read_json, remove_leftovers, write_json
from ..oracle.calculators import HOW_IT_IS_RUN
from ..oracle.execution import oracle_workers, result_or_reason
from ..processes import single_threaded_children
from .hot import Trajectory, hot_trajectory

SECONDS_FILE = "labelling.json"
LENGTH = 20
"""Frames of a trajectory, or more where few frames are given to start from."""
_STREAM = 17


class OracleFrames(NamedTuple):
    """What `oracle_frames` made."""

    frames: list[Frame]
    seconds: float
    """That it took, those of earlier runs included."""
    notes: list[str]
    """What a person should know, a line each."""


class _Task(NamedTuple):
    """One trajectory to be run, or read from its file."""

    number: int
    start: Frame
    n_frames: int
    temperature: float

    def atoms(self) -> Atoms:
        start = self.start
        return Atoms(start.numbers, start.positions, cell=start.cell, pbc=start.pbc)

    def file(self, folder: Path) -> Path:
        return _file(folder, self.number)


class _Run(NamedTuple):
    """A task that is done."""

    task: _Task
    trajectory: Trajectory


def oracle_frames(
    config: PretrainConfig, seed: int, given: Sequence[Summary], folder: Path, limit: float | None = None
) -> OracleFrames:
    """Frames around `given` ones, labelled; trajectories that `folder` holds already are taken from there.

    After `limit` seconds no further trajectory is begun. Raises ValueError where a given frame is too large, and where
    the oracle labels none, as for an element that it does not know.
    """
    for frame in given:
        if frame.n_atoms > config.max_atoms:
            raise ValueError(
                f"{frame.origin}: {frame.n_atoms} atoms, too many for 'pretrain', which makes {config.frames} "
                f"frames like it; allowed are {config.max_atoms} (pretrain.max_atoms)"
            )
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    tasks = _tasks(config, seed, given)
    key = {"seed": seed, **config.model_dump(mode="json", include={"frames", "temperature", "pulled"})}
    key["oracle"] = config.oracle.model_dump(mode="json", exclude=set(HOW_IT_IS_RUN))
    kept = [(task, _kept(task, key, folder)) for task in tasks]
    found = [_Run(task, trajectory) for task, trajectory in kept if trajectory is not None]
    missing = [task for task, trajectory in kept if trajectory is None]
    for run in _run(config, seed, missing, folder, limit):
        write_json(run.task.file(folder), {"key": _key(run.task, key), **asdict(run.trajectory)})
        found.append(run)
    found.sort(key=lambda run: run.task.number)
    frames, ended = _frames(found, folder), [run for run in found if run.trajectory.reason]
    if not frames:
        why = f"{ended[0].task.start.origin}: {ended[0].trajectory.reason}" if ended else "there was no time for any"
        raise ValueError(f"pretrain: no frame could be labelled by {config.oracle.name}; {why}")
    low, high = config.temperature
    notes = [
        f"{len(frames)} frames by {config.oracle.name} from {len(found)} trajectories at {low:g} to {high:g} K, in "
        f"{_seconds(folder):.0f} s"
    ]
    if len(found) < len(tasks):
        notes.append(f"there was time for {len(found)} of {len(tasks)} trajectories only")
    if ended:
        task, trajectory = ended[0]
        notes.append(f"{len(ended)} trajectories ended early: from {task.start.origin}, {trajectory.reason}")
    return OracleFrames(frames, _seconds(folder), [f"pretrain: {note}" for note in notes])


def labelled_before(given: Sequence[Summary], folder: Path) -> OracleFrames:
    """The frames that an earlier training with fewer given frames left in `folder`, whatever they were made by.

    Their energies have the zero of the labels in `given`. Raises ValueError where there are none, or one that a
    trajectory began at is not among `given`.
    """
    starts = {frame.content: frame for frame in given}
    found = []
    for number in count():
        file = _file(folder, number)
        if not file.exists():
            break
        content = read_json(file)
        key = content.pop("key")
        if key["start"] not in starts:
            raise ValueError(f"{file}: began at a frame that is not among the {len(given)} that are trained on")
        task = _Task(number, starts[key["start"]].loaded(), key["n_frames"], float("nan"))
        found.append(_Run(task, Trajectory(**content)))
    frames = _frames(found, folder)
    if not frames:
        raise ValueError(f"{folder}: holds no frames of an earlier training's 'pretrain'")
    return OracleFrames(frames, 0.0, [f"pretrain: {len(frames)} frames that were labelled before"])


def _tasks(config: PretrainConfig, seed: int, given: Sequence[Summary]) -> list[_Task]:
    rng = np.random.default_rng([seed, _STREAM])
    n_trajectories = max(1, min(len(given), config.frames // LENGTH))
    starts = rng.permutation(len(given))[:n_trajectories]
    low, high = config.temperature
    temperatures = low + (high - low) * (rng.permutation(n_trajectories) + rng.random(n_trajectories)) / n_trajectories
    lengths = [len(part) for part in np.array_split(np.arange(config.frames), n_trajectories)]
    plan = zip(starts, lengths, temperatures, strict=True)
    return [_Task(k, given[start].loaded(), length, float(t)) for k, (start, length, t) in enumerate(plan)]


def _key(task: _Task, key: dict[str, Any]) -> dict[str, Any]:
    """What a kept trajectory must agree in; lists as JSON has them."""
    return {**key, "start": task.start.content, "n_frames": task.n_frames}


def _kept(task: _Task, key: dict[str, Any], folder: Path) -> Trajectory | None:
    """A trajectory of a run that was killed, unless it was of another config or other frames."""
    if not task.file(folder).exists():
        return None
    content = read_json(task.file(folder))
    return Trajectory(**content) if content.pop("key") == _key(task, key) else None


def _file(folder: Path, number: int) -> Path:
    """Of a trajectory."""
    return folder / f"trajectory-{number}.json"


def _run(
    config: PretrainConfig, seed: int, tasks: Sequence[_Task], folder: Path, limit: float | None
) -> Iterator[_Run]:
    """Trajectories as they end, each after its time has been noted."""
    before, started, waiting = _seconds(folder), time.perf_counter(), list(reversed(tasks))
    if not waiting or (limit is not None and before >= limit):
        return
    n_workers = min(config.oracle.workers, len(waiting))
    with single_threaded_children(), oracle_workers(config.oracle, folder)(n_workers) as pool:
        running: dict[Any, _Task] = {}
        while True:
            spent = before + time.perf_counter() - started
            while waiting and len(running) < n_workers and (limit is None or spent < limit):
                task = waiting.pop()
                arguments = task.atoms(), task.n_frames, task.temperature, config.oracle, [seed, _STREAM, task.number]
                running[pool.submit(hot_trajectory, *arguments, config.pulled)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, result = running.pop(future), result_or_reason(future)
                write_json(folder / SECONDS_FILE, {"seconds": before + time.perf_counter() - started})
                yield _Run(task, Trajectory(None, reason=result) if isinstance(result, str) else result)


def _seconds(folder: Path) -> float:
    path = folder / SECONDS_FILE
    return float(read_json(path)["seconds"]) if path.exists() else 0.0


def _frames(found: Sequence[_Run], folder: Path) -> list[Frame]:
    """All frames, with energies from the zero of the given labels'; without, where none of these has an energy."""
    labelled = [(task.start, trajectory.energy) for task, trajectory in found if trajectory.energy is not None]
    both = [(frame, frame.energy - energy) for frame, energy in labelled if frame.energy is not None]
    shifts: dict[str, float] = {}
    if both:
        species = species_of([frame for frame, _ in both])
        differences = np.array([[difference for _, difference in both]])
        values = least_absolute_shifts([frame for frame, _ in both], differences, species)[0]
        shifts = dict(zip(species, values.tolist(), strict=True))
    frames = []
    for task, trajectory in found:
        start = task.start
        known = bool(both) and set(start.symbols) <= shifts.keys()
        zero = sum(shifts[symbol] for symbol in start.symbols) if known else 0.0
        for k, energy in enumerate(trajectory.energies):
            stress = trajectory.stresses[k]
            frames.append(
                Frame(
                    start.numbers,
                    np.array(trajectory.positions[k]),
                    np.array(trajectory.cells[k]),
                    start.pbc,
                    energy + zero if known else None,
                    np.array(trajectory.forces[k]),
                    None if stress is None else np.array(stress),
                    f"frame {k} of {task.file(folder)}",
                )
            )
    return frames
