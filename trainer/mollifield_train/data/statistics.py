"""What a model must know of its training frames before it is built."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from .frames import Frame


@dataclass(frozen=True)
class Statistics:
    """Numbers that set the zero and the scale of a model."""

    species: list[str]
    """Chemical symbols by rising atomic number."""
    shifts: list[float]
    """Energy of each species, eV."""
    force_rms: float
    """Root mean square of a force component, eV/Å."""
    average_neighbours: float
    """Mean number of neighbours within the cutoff."""


def species_of(frames: Sequence[Frame]) -> list[str]:
    """Chemical symbols present, by rising atomic number."""
    return [chemical_symbols[z] for z in sorted({int(z) for f in frames for z in f.numbers})]


def energy_shifts(
    frames: Sequence[Frame],
    isolated: Sequence[Frame],
    species: Sequence[str],
    method: str | dict[str, float],
) -> list[float]:
    """Energy of each species in eV: fitted, from isolated atoms, or as given.

    `least_squares` minimises the squared error of the energy per atom; where compositions do not
    determine it (one molecule only), the solution of minimum norm is taken. Raises ValueError if a
    species has no given shift or no isolated atom.
    """
    if method == "least_squares":
        energies = np.array([frame.energy for frame in frames])
        return least_squares_shifts(frames, energies[None], species)[0].tolist()
    known = method if isinstance(method, dict) else {
        chemical_symbols[f.numbers[0]]: f.energy for f in isolated
    }
    missing = [symbol for symbol in species if symbol not in known]
    if missing:
        where = "model.shifts" if isinstance(method, dict) else "the isolated atoms of data.train"
        raise ValueError(
            f"no energy shift for {', '.join(missing)} in {where}; "
            f"present: {', '.join(known) or 'none'}"
        )
    return [float(known[symbol]) for symbol in species]


def force_rms(frames: Sequence[Frame]) -> float:
    """Root mean square of all force components in eV/Å; 1 where all forces vanish."""
    forces = np.concatenate([f.forces.ravel() for f in frames if f.forces is not None])
    rms = float(np.sqrt(np.mean(forces**2)))
    return rms if rms > 1e-6 else 1.0


def least_squares_shifts(
    frames: Sequence[Frame], energies: np.ndarray, species: Sequence[str]
) -> np.ndarray:
    """Energies of species [K, species] that explain `energies` [K, frames] of compositions best."""
    fractions, n_atoms = _compositions(frames, species)
    shifts, *_ = np.linalg.lstsq(fractions, energies.T / n_atoms[:, None], rcond=1e-8)
    return shifts.T


def least_absolute_shifts(
    frames: Sequence[Frame], energies: np.ndarray, species: Sequence[str], iterations: int = 50
) -> np.ndarray:
    """The same for the least sum of absolute errors an atom, [K, species].

    A few frames with large errors (broken molecules, say) do not pull the others along. By
    iteratively reweighted least squares: each frame counts with 1 / |its error|.
    """
    fractions, n_atoms = _compositions(frames, species)
    targets = energies / n_atoms
    floor = 1e-6  # eV/atom: below it an error counts as none
    shifts = []
    for target in targets:
        weights = np.ones(len(frames))
        for _ in range(iterations):
            root = np.sqrt(weights)
            found, *_ = np.linalg.lstsq(fractions * root[:, None], target * root, rcond=1e-8)
            weights = 1.0 / np.maximum(np.abs(target - fractions @ found), floor)
            weights /= weights.max()
        shifts.append(found)
    return np.array(shifts)


def _compositions(
    frames: Sequence[Frame], species: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of each species [frames, species] and number of atoms [frames]."""
    columns = {atomic_numbers[symbol]: k for k, symbol in enumerate(species)}
    counts = np.zeros((len(frames), len(species)))
    for row, frame in zip(counts, frames, strict=True):
        numbers, n = np.unique(frame.numbers, return_counts=True)
        row[[columns[z] for z in numbers]] = n
    n_atoms = counts.sum(axis=1)
    return counts / n_atoms[:, None], n_atoms
