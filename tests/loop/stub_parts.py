"""A small, slow, deterministic loop to kill: a logged oracle, and stubs for all the rest.

`python -m tests.loop.stub_loop` runs it.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.emt import EMT

from mollifield_train.active.committee import Prediction
from mollifield_train.active.config import LoopConfig
from mollifield_train.active.explore.config import DynamicsConfig
from mollifield_train.active.explore.trajectory import Exploration, Task, Trace
from mollifield_train.active.parts import Parts, TrainTask
from mollifield_train.active.store import content_key
from mollifield_train.durable import replacing

PAUSE = 0.12  # seconds: long against the milliseconds that a kill takes to arrive


class LoggedEMT(EMT):
    """EMT that writes the key of every finished calculation to `log`, one line each."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = log

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        super().calculate(atoms, *arguments, **more)
        time.sleep(PAUSE)
        # One write to a file opened for appending: lines of two processes never mix.
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{content_key(atoms)}\n".encode())
        os.close(descriptor)


def train(task: TrainTask, config: LoopConfig) -> None:
    """The "model" is what it was trained on; beside it lie the keys of both sides' frames."""
    task.directory.mkdir(parents=True, exist_ok=True)
    sides = {"train": task.frames, "validation": task.valid}
    keys = {side: [content_key(atoms) for atoms in frames] for side, frames in sides.items()}
    (task.directory / "sides.json").write_text(json.dumps(keys))
    (task.directory / "started").touch()
    time.sleep(3 * PAUSE)
    energies = [atoms.get_potential_energy() for atoms in task.frames]
    with replacing(task.model) as temporary:
        temporary.write_text(json.dumps({"n": len(energies), "energy": float(np.mean(energies))}))


def explore(task: Task, config: DynamicsConfig) -> Exploration:
    """Frames shaken harder and harder."""
    (task.directory / "started").touch()
    time.sleep(2 * PAUSE)
    frames, steps = [], list(range(0, config.n_steps, config.sample_every))
    for step in steps:
        atoms = Atoms(task.start.numbers, task.start.positions, cell=task.start.cell, pbc=True)
        atoms.rattle(0.02 + 0.2 * step / config.n_steps, seed=task.seed + step)
        atoms.info["step"] = step
        frames.append(atoms)
    trace = Trace({"step": steps, "max_std": [0.1] * len(steps)})
    return Exploration(trace, frames[len(frames) // 2 :], frames)


class Committee:
    """Two members that err in opposite directions, less the more frames they have seen."""

    def __init__(self, path: Path) -> None:
        self.model = json.loads(path.read_text())
        self.species = [13]

    def predict(self, atoms: Atoms) -> Prediction:
        atoms = atoms.copy()
        atoms.calc = EMT()
        forces = atoms.get_forces()
        std = np.linalg.norm(forces, axis=1) / self.model["n"] + 1e-3
        features = np.concatenate([atoms.positions, 2 * atoms.positions], axis=1) / np.sqrt(6.0)
        return Prediction(self.model["energy"], 1.0, 0.9 * forces, std, features)


def make_parts(config: LoopConfig) -> Parts:
    return Parts(train, explore, Committee)


def make_config(directory: Path) -> LoopConfig:
    """The run lies in `directory/run`, the oracle's log in `directory/calls`."""
    return LoopConfig(
        directory=directory / "run",
        frames=directory / "frames.extxyz",
        rounds=2,
        batch=3,
        arms={"active": {"kind": "uncertain_then_diverse"}, "random": {"kind": "random"}},
        oracle={
            "kind": "ase",
            "calculator": f"{__package__}.stub_parts.LoggedEMT",
            "arguments": {"log": str(directory / "calls")},
        },
        explorer={"n_trajectories": 2, "n_steps": 60, "sample_every": 5, "select": 0.1},
        test_set={"n_frames": 3, "every": 1, "n_equilibration": 0},
    )


def write_frames(directory: Path) -> None:
    """Two frames without labels to start from."""
    import ase.io
    from ase.build import bulk

    frames = []
    for seed in range(2):
        frames.append(bulk("Al", cubic=True))
        frames[-1].rattle(0.05, seed=seed)
    ase.io.write(directory / "frames.extxyz", frames)


def write_config(directory: Path, **changes: Any) -> Path:
    """`make_config` with changes as a file, and the frames beside it."""
    write_frames(directory)
    content = make_config(directory).model_dump(mode="json", exclude_unset=True)
    path = directory / "loop.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path
