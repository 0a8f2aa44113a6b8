"""The real parts of the loop: Mollifield's trainer, exported committees, LAMMPS or ASE."""

from __future__ import annotations

import os
from functools import lru_cache, partial
from pathlib import Path

import ase.io
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ..calibrate.fitting import TooFewFramesError, calibrate_file
from ..calibrate.picture import draw
from ..config import DataConfig, TrainConfig
from ..data.labels import FORCES_MASK
from ..durable import replacing, write_json
from ..training.run import train
from ..training.run_directory import LAST_CHECKPOINT, MODEL_FILE, PRETRAIN_FOLDER
from .config import LoopConfig
from .explore import explore
from .exported import ExportedCommittee
from .log import say
from .parts import CALIBRATION_FILE, CALIBRATION_PICTURE, Parts, TrainTask

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
                ase.io.write(temporary, [_to_learn(atoms) for atoms in frames], format="extxyz")
    started = (task.directory / LAST_CHECKPOINT).exists()
    result = train(
        train_config(task, config),
        resume=started,
        initial=task.initial,
        progress=False,
        report=lambda line: say("train", line.removeprefix("data: ")),
        head_start=None if task.first is None else task.first / PRETRAIN_FOLDER,
    )
    model = _calibrated(result.directory / MODEL_FILE, task, config)
    # Copied last: this file's existence says that the round is trained.
    with replacing(task.model) as temporary:
        temporary.write_bytes(model.read_bytes())


def _to_learn(atoms: Atoms) -> Atoms:
    """A frame with the labels that count: the energy of a cluster that was cut out is that of its surface too."""
    if FORCES_MASK not in atoms.arrays:
        return atoms
    learnt = atoms.copy()
    learnt.calc = SinglePointCalculator(learnt, forces=atoms.get_forces())
    return learnt


def _calibrated(model: Path, task: TrainTask, config: LoopConfig) -> Path:
    """`model`, or where there are enough validation frames a calibrated one, with what was found beside it."""
    least = config.training.calibrate_from
    if least is None or len(task.valid) < least:
        return model
    output = task.directory / "calibrated.pt"
    try:
        found = calibrate_file(model, task.directory / VALID_FILE, output, device=config.training.device)
    except TooFewFramesError as error:
        say("train", f"not calibrated: {error}")
        return model
    with replacing(task.directory / CALIBRATION_PICTURE) as temporary:
        draw(found, temporary)
    stated = {name: score.stated() for name, score in found.scores.items()}
    write_json(task.directory / CALIBRATION_FILE, {"frames": found.n_frames} | stated)
    forces = found.scores["forces"]
    say(
        "train",
        f"calibrated on {found.n_frames} validation frames: std of force error / std {forces.before['z_std']:.2f} -> "
        f"{forces.after['z_std']:.2f}",
    )
    return output


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
        pretrain=settings.pretrain,
        uncertainty=settings.uncertainty,
    )
