"""The real parts of the loop: Mollifield's trainer, exported committees, LAMMPS or ASE."""

from __future__ import annotations

import os
from functools import lru_cache, partial

import ase.io
import torch

from ..config import DataConfig, TrainConfig
from ..durable import replacing
from ..training.run import train
from ..training.run_directory import LAST_CHECKPOINT, MODEL_FILE
from .config import LoopConfig
from .explore import explore
from .exported import ExportedCommittee
from .log import say
from .parts import Parts, TrainTask

TRAIN_FILE, VALID_FILE = "train.extxyz", "valid.extxyz"


def make_parts(config: LoopConfig) -> Parts:
    """The parts that a config asks for. Each process uses as many threads as it was started with."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    device = config.training.device
    # A round asks for the same model several times; its file never changes once it is there.
    load = lru_cache(maxsize=2)(partial(ExportedCommittee, device=device))
    return Parts(train_committee, explore, load)


def train_committee(task: TrainTask, config: LoopConfig) -> None:
    """Train with `mollifield_train.training.run`; see `parts.Trainer`."""
    task.directory.mkdir(parents=True, exist_ok=True)
    for name, frames in ((VALID_FILE, task.valid), (TRAIN_FILE, task.frames)):
        if frames and not (task.directory / name).exists():
            with replacing(task.directory / name) as temporary:
                ase.io.write(temporary, list(frames), format="extxyz")
    started = (task.directory / LAST_CHECKPOINT).exists()
    result = train(
        train_config(task, config),
        resume=started,
        initial=task.initial,
        progress=False,
        report=lambda line: say("train", line.removeprefix("data: ")),
    )
    # Copied last: this file's existence says that the round is trained.
    with replacing(task.model) as temporary:
        temporary.write_bytes((result.directory / MODEL_FILE).read_bytes())


def train_config(task: TrainTask, config: LoopConfig) -> TrainConfig:
    """The training config of one training of the loop."""
    settings = config.training
    optimiser = settings.optimiser
    if task.initial is not None:
        optimiser = optimiser.model_copy(update={"minutes": None} | settings.warm.model_dump())
    return TrainConfig(
        seed=config.seed,
        dtype=settings.dtype,
        device=settings.device,
        directory=str(task.directory),
        # The loop decides which frames are for validation, once and for all its trainings.
        data=DataConfig(
            train=str(task.directory / TRAIN_FILE),
            valid=str(task.directory / VALID_FILE) if task.valid else None,
            valid_fraction=0.0,
        ),
        model=settings.model,
        committee=settings.committee,
        loss=settings.loss,
        optimiser=optimiser,
    )
