"""What a model must know of its training frames before it is built: the scale of its energies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers

from .shifts import Shifts
from .summary import Summary

THERMAL_FORCE = 0.3
"""eV/Å. The scale of forces is never taken to be less, because relaxed frames say nothing about it. An atom on a spring
of k has an RMS force of sqrt(k k_B T) in a direction, which is 0.3 at 300 K for the 3.5 eV/Å² of a soft metal. Measured
at 300 K: aluminium 0.30 and copper 0.46 (EMT); ethanol (500 K) 1.19, silicon 0.86, TiO2 0.81 eV/Å in published sets."""

LARGEST_FACTOR = 10.0
"""A frame counts with at most this many times the RMS force of the median frame: one wrong label sets no scale."""


@dataclass(frozen=True)
class Statistics:
    """Numbers that set the zero and the scale of a model."""

    species: list[str]
    """Chemical symbols by rising atomic number."""
    shifts: Shifts
    """Energies of the species."""
    force_scale: float
    """Size of a force component, eV/Å (`force_scale`)."""
    average_neighbours: float
    """Mean number of neighbours within the cutoff."""
    shortest_distances: tuple[tuple[float, ...], ...]
    """Å, `[n_species, n_species]`, of atoms of each pair of species; the cutoff where none are nearer."""


def species_of(frames: Iterable[Summary]) -> list[str]:
    """Chemical symbols present, by rising atomic number."""
    present: set[str] = set()
    for frame in frames:
        present.update(frame.composition)
    return sorted(present, key=atomic_numbers.__getitem__)


def force_scale(frames: Sequence[Summary]) -> float:
    """Root mean square of all force components in eV/Å, with two bounds: `LARGEST_FACTOR` and `THERMAL_FORCE`."""
    labelled = [(square, frame.n_atoms) for frame in frames if (square := frame.mean_square_force) is not None]
    if not labelled:
        return THERMAL_FORCE
    squares, n_atoms = np.array(labelled).T
    largest = LARGEST_FACTOR * max(float(np.sqrt(np.median(squares))), THERMAL_FORCE)
    mean = np.average(np.minimum(squares, largest**2), weights=n_atoms)
    return max(float(np.sqrt(mean)), THERMAL_FORCE)
