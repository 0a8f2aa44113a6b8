"""Labelled frames for tests of the data."""

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator


def labelled(atoms: Atoms, energy: float = -1.0, **extra: object) -> Atoms:
    atoms = atoms.copy()
    forces = np.random.default_rng(len(atoms)).normal(size=(len(atoms), 3))
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, **extra)
    return atoms


def written(tmp_path: Path, *images: Atoms, name: str = "frames.xyz") -> Path:
    path = tmp_path / name
    ase.io.write(path, list(images), format="extxyz")
    return path


def water(energy: float = -1.0, **extra: object) -> Atoms:
    return labelled(molecule("H2O"), energy, **extra)


def moved_water(n: int, seed: int = 0) -> list[Atoms]:
    """Different geometries; energies 0, 1, 2, ..."""
    rng = np.random.default_rng(seed)
    images = []
    for k in range(n):
        atoms = molecule("H2O")
        atoms.positions += rng.normal(scale=0.1, size=(3, 3))
        images.append(labelled(atoms, energy=k))
    return images
