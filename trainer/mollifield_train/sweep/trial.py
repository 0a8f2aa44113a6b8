"""One training of a sweep, in a worker process."""

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..config import TrainConfig, validated
from ..durable import one_after_another
from ..metrics import key_of
from ..training.run import train
from ..training.run_directory import MODEL_FILE
from .cost import inference_cost
from .folder import COST, ERRORS, MINUTES, read_result, rows, write_result

ERROR_KEY = key_of("forces", "rmse")
"""Of the error that a sweep makes small, meV/Å."""


@dataclass(frozen=True)
class TrialTask:
    """What a worker is told."""

    number: int
    folder: Path
    """Absolute: its run's."""
    values: dict[str, Any]
    """Keys of the training; the directory is set to `folder`."""
    working_directory: Path
    """Where relative paths of the training begin."""
    cost_frame: Path
    """Absolute."""


def run_trial(task: TrialTask) -> dict[str, Any]:
    """Train, or go on from the last checkpoint; measure; write the result and return it. A finished one is not redone.

    Raises ValueError for values that a training refuses, and for errors that are no numbers.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    # The default is a semaphore between processes, which a worker that is ended would leak, with a warning.
    tqdm.set_lock(threading.RLock())
    # Where a sweep was killed, a worker on another machine may be at it still.
    with one_after_another(task.folder / "lock"), _working_in(task.working_directory):
        found = read_result(task.folder)
        if found is not None:
            return found
        config = validated(TrainConfig, task.values | {"directory": str(task.folder)}, f"trial {task.number}")
        trained = train(config, resume=True, progress=False, report=_say_nothing)
        errors = trained.metrics.get("valid", {})
        if not math.isfinite(errors.get(ERROR_KEY, math.nan)):
            raise ValueError(f"the force error on the validation frames is no number: {errors.get(ERROR_KEY)}")
        cost = inference_cost(task.folder / MODEL_FILE, task.cost_frame, config.device)
        seconds = sum(float(row["seconds"]) for member in rows(task.folder) for row in member)
        result = {ERRORS: errors, COST: cost, MINUTES: seconds / 60.0}
        write_result(task.folder, result)
        return result


def _say_nothing(line: str) -> None:
    """What is odd about the data is the same for all trials."""


@contextlib.contextmanager
def _working_in(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
