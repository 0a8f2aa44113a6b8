"""Frames that somebody else found."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from ...images import read_images
from .config import ExplorerConfig
from .judged import judged
from .trajectory import Exploration, Task


class FileConfig(ExplorerConfig):
    """Frames of a file, whatever made them; labels in it are not looked at."""

    kind: Literal["file"] = "file"
    file: Path
    """Any format that ASE reads, with cell and periodicity."""
    n_frames: PositiveInt = 100
    """Drawn at random for each trajectory, all of them where there are fewer."""

    def about(self) -> str:
        return f"frames are drawn from {self.file.name}"


def explore_file(task: Task, settings: FileConfig) -> Exploration:
    """See `trajectory.Explorer`. Raises ValueError: the file cannot be read."""
    images = read_images(settings.file, "explorer file: ")
    rng = np.random.default_rng(task.seed)
    drawn = np.sort(rng.choice(len(images), size=min(settings.n_frames, len(images)), replace=False))
    return judged(((images[index], {"frame": float(index)}) for index in drawn), task, ("frame",))
