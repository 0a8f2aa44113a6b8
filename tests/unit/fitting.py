"""A tiny labelled data set and config for tests of the fit."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import mollifield_train.training.run
from mollifield_train.config import TrainConfig, validated
from mollifield_train.training.run_directory import FitFolder


def labelled_water(n_frames: int, seed: int = 0, box: float | None = None) -> list[Atoms]:
    """Water molecules with harmonic bonds: E = 5 Σ (d - 1)² - 10 eV, forces and stress to match."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n_frames):
        atoms = molecule("H2O")
        atoms.positions += rng.normal(scale=0.08, size=(3, 3))
        energy, forces, virial = -10.0, np.zeros((3, 3)), np.zeros((3, 3))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            d = atoms.positions[j] - atoms.positions[i]
            length = np.linalg.norm(d)
            pull = 10.0 * (length - 1.0) * d / length
            energy += 5.0 * (length - 1.0) ** 2
            forces[i] += pull
            forces[j] -= pull
            virial -= np.outer(d, pull)
        results = {"energy": energy, "forces": forces}
        if box is not None:
            atoms.set_cell(np.eye(3) * box)
            atoms.pbc = True
            results["stress"] = (-virial / box**3).reshape(9)[[0, 4, 8, 5, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, **results)
        images.append(atoms)
    return images


def tiny_config(directory: Path, images: list[Atoms], name: str = "run", **sections: dict) -> TrainConfig:
    """A few epochs of a very small model in float64."""
    path = directory / "frames.xyz"
    if not path.exists():
        ase.io.write(path, images, format="extxyz")
    values: dict = {
        "dtype": "float64",
        "directory": str(directory / name),
        "data": {"train": str(path), "valid_fraction": 0.25},
        "model": {
            "l_max": 1,
            "n_layers": 1,
            "n_channels": 4,
            "n_radial": 4,
            "radial_hidden": [8],
            "r_max": 3.0,
            "readout_hidden": 4,
            "messages": "coupled",
            "correlation": 1,
        },
        "committee": {"n_members": 2},
        "loss": {"mollifier": None},
        "optimiser": {"batch_size": 4, "epochs": 4},
    }
    for section, content in sections.items():
        values[section] = values.get(section, {}) | content if isinstance(content, dict) else content
    return validated(TrainConfig, values, "test")


@contextmanager
def power_cut(monkeypatch, epochs: int = 2) -> Iterator[list[dict]]:
    """A run in the block ends when so many epochs of it are on disk; their states."""
    keep, kept = FitFolder.keep_epoch, []

    def keep_and_end(self, state, rows):
        keep(self, state, rows)
        kept.append(state)
        if len(kept) == epochs:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(FitFolder, "keep_epoch", keep_and_end)
        with pytest.raises(RuntimeError, match="power cut"):
            yield kept


@contextmanager
def power_cut_in_an_epoch(monkeypatch, steps: int) -> Iterator[None]:
    """A run in the block ends after so many steps."""
    from mollifield_train.training.lightning_fit import CommitteeFit

    take_step, taken = CommitteeFit.training_step, 0

    def step(self, batch, batch_idx):
        nonlocal taken
        taken += 1
        if taken > steps:
            raise RuntimeError("power cut")
        return take_step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(CommitteeFit, "training_step", step)
        with pytest.raises(RuntimeError, match="power cut"):
            yield


@pytest.fixture(name="exporting")
def later_export(monkeypatch):
    """Call it, and model files are written from there on."""
    export = mollifield_train.training.run.export
    return lambda: monkeypatch.setattr(mollifield_train.training.run, "export", export)


@pytest.fixture(autouse=True)
def no_export(request, monkeypatch, exporting):
    """Scripting a model takes seconds; tests that look at the file ask for `with_export` or `exporting`."""
    if "with_export" not in request.fixturenames:
        monkeypatch.setattr(mollifield_train.training.run, "export", lambda *arguments, **named: None)


@pytest.fixture
def with_export():
    """The model file is written."""


def history(directory: Path) -> list[dict[str, float]]:
    """Rows of metrics.csv, but for the seconds."""
    with open(directory / "metrics.csv", newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
