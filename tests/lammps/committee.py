"""Decks for fix mollifield/uncertainty, and what numpy says of its committee."""

from pathlib import Path

import numpy as np
from ase import Atoms

from mollifield.uncertainty import outside_std
from mollifield_lammps import RunResult, lammps_boundary, write_data

from ..lammps_runner import run_deck
from .conftest import SPECIES, artefact_of, deck, python_answer

ATOL = 1e-9
FACTORS = {"force_std_factor": 1.7, "energy_std_factor": 0.6}
NOISE = {"force_noise_std": 0.05, "energy_noise_std": 0.002}


def spread(
    model: Path, atoms: Atoms, factors: dict[str, float] = FACTORS
) -> tuple[np.ndarray, float, np.ndarray, float]:
    """(force std [N], energy std per atom, mean forces [N, 3], mean energy), in eV and Å.

    Factors scale what the members say; what being outside of the training data adds has none.
    """
    answer = python_answer(model, atoms)
    outside = outside_std(artefact_of(model).latent_space, answer.latent, answer.types).numpy()
    forces, energies = answer.forces.numpy(), answer.energies.numpy()
    force_std = factors.get("force_std_factor", 1.0) * np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1))
    force_std = np.hypot(force_std, outside)
    energy_std = np.hypot(factors.get("energy_std_factor", 1.0) * energies.std(ddof=1), np.linalg.norm(outside))
    return force_std, energy_std / len(atoms), forces.mean(axis=0), energies.mean()


def start(
    directory: Path, atoms: Atoms, model: Path, commands: str, n_ranks: int = 1, units: str = "metal", **options: str
) -> tuple[RunResult, np.ndarray]:
    """Run `commands` on `atoms`; the result, and the rotation into LAMMPS's frame."""
    directory.mkdir(exist_ok=True)
    rotation = write_data(directory / "atoms.data", atoms, SPECIES, units)
    text = deck(model, lammps_boundary(atoms), commands, units, **options)
    return run_deck(text, directory, n_ranks), rotation
