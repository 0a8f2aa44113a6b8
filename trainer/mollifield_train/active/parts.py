"""What a loop is put together from, and where the files of a run lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ase import Atoms

from .committee import LoadCommittee
from .config import LoopConfig
from .databases import Place
from .explore.trajectory import Explorer

CALIBRATION_FILE = "calibration.json"
"""What a calibration found, as in the summary of the model file."""
CALIBRATION_PICTURE = "calibration.png"
GIVEN_KEYS = "config_given.json"
"""In the directory of a run: its config without the keys that nobody gave."""


@dataclass(frozen=True)
class TrainTask:
    """One training: `frames` into `model`, which appears whole or not at all."""

    frames: Sequence[Atoms]
    valid: Sequence[Atoms]
    """Frames to judge epochs by; no training of any round learns from one of them."""
    directory: Path
    """For checkpoints and logs; a killed training continues from what is here. A trainer that calibrates leaves
    `CALIBRATION_FILE` and `CALIBRATION_PICTURE` here, before `model` appears."""
    model: Path
    initial: Path | None
    """Directory of the training whose weights are the start; none: random weights."""
    first: Path | None = None
    """Directory of the run's first training, with the head start that all others take over; none: this is the first."""


class Trainer(Protocol):
    """Trains a committee; called again after a kill it continues."""

    def __call__(self, task: TrainTask, config: LoopConfig) -> None: ...


@dataclass(frozen=True)
class Parts:
    """The three things the loop is built from; tests put in small ones."""

    train: Trainer
    explore: Explorer
    load_committee: LoadCommittee


def paths_of(config: LoopConfig) -> Paths:
    """Of a run."""
    return Paths(config.directory, config.store)


@dataclass(frozen=True)
class Paths:
    """Where things lie in the directory of a run."""

    root: Path
    database: str | None = None
    """URL of the store."""

    @property
    def store(self) -> Place:
        return self.database or self.root / "frames.db"

    @property
    def lock(self) -> Path:
        """Held by the process that runs."""
        return self.root / "lock"

    @property
    def pause(self) -> Path:
        """While it exists, no step begins."""
        return self.root / "pause"

    @property
    def spool(self) -> Path:
        return self.root / "labels"

    def round(self, arm: str, number: int) -> Path:
        """Folder of a round; round 0 is the first training, which all arms share."""
        return self.root / "start" if number == 0 else self.root / arm / f"round-{number}"
