"""Trainings of a loop that learn a cheap method's frames beside the oracle's labels."""

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from mollifield_train.active.config import LoopConfig
from mollifield_train.active.parts import TrainTask
from mollifield_train.active.wiring import train_committee
from mollifield_train.config import TrainConfig
from mollifield_train.durable import read_json
from mollifield_train.training import loading
from mollifield_train.training.run_directory import CONFIG_FILE, PRETRAIN_FOLDER
from mollifield_train.yaml_values import read_yaml


def water(seed: int) -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=seed)
    atoms.calc = EMT()
    atoms.get_forces()
    return atoms


def config(folder: Path) -> LoopConfig:
    """With a head start."""
    training = {
        "model": {"l_max": 0, "n_layers": 1, "n_channels": 4, "radial_hidden": [8], "r_max": 3.5},
        "committee": {"n_members": 2},
        "optimiser": {"epochs": 1},
        "warm": {"epochs": 1},
        "pretrain": {"oracle": {"kind": "emt"}, "frames": 4, "temperature": [300.0, 600.0]},
    }
    return LoopConfig(directory=folder, frames=folder / "frames.extxyz", training=training)


def test_all_rounds_learn_what_the_first_had_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [water(seed) for seed in range(4)]
    first = tmp_path / "start" / "training"
    train_committee(TrainTask(frames[:3], [], first, tmp_path / "0.pt", None), config(tmp_path))
    assert len(read_json(first / PRETRAIN_FOLDER / "trajectory-0.json")["energies"]) == 4

    learnt = []
    with_oracle_frames = loading.with_oracle_frames

    def noted(of: TrainConfig, *arguments: object) -> loading.TrainingData:
        learnt.append(with_oracle_frames(of, *arguments))
        return learnt[-1]

    monkeypatch.setattr("mollifield_train.training.run.with_oracle_frames", noted)
    monkeypatch.setattr("mollifield_train.pretrain.frames.oracle_workers", None)  # nothing is labelled again
    second = tmp_path / "active" / "round-1" / "training"
    train_committee(TrainTask(frames, [], second, tmp_path / "1.pt", first, first), config(tmp_path))
    assert len(learnt[0].training) == 4 and len(learnt[0].oracle) == 4
    assert (tmp_path / "1.pt").exists() and not (second / PRETRAIN_FOLDER).exists()
    assert read_yaml(second / CONFIG_FILE)["pretrain"]["frames"] == 4
