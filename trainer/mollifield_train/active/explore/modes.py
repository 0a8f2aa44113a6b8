"""Displacements along normal modes of the committee's own Hessian."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from .config import ExplorerConfig
from .judged import Looked, judged
from .trajectory import TEMPERATURE, Exploration, Task

STEP_LENGTH = 0.01
"""Å, of the differences."""


class ModesConfig(ExplorerConfig):
    """Normal modes excited at random, from cold to hot (Smith et al., Sci. Data 4, 170193 (2017))."""

    kind: Literal["modes"] = "modes"
    n_frames: PositiveInt = 20
    """Frames of a trajectory."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (300.0, 1000.0)
    """K, in the first and in the last frame."""
    least: PositiveFloat = 50.0
    """cm⁻¹. Softer modes, imaginary ones too, are displaced as if they were as stiff as this; rigid motion is not."""

    @property
    def first_temperature(self) -> float:
        return self.temperature[0]

    def about(self) -> str:
        return f"normal modes are excited at {self.temperature[0]:g} to {self.temperature[1]:g} K"


def explore_modes(task: Task, settings: ModesConfig) -> Exploration:
    """See `trajectory.Explorer`; 6N evaluations of the mean forces make the Hessian."""
    return judged(_excited(task, settings), task, (TEMPERATURE,))


def _excited(task: Task, settings: ModesConfig) -> Iterator[Looked]:
    from mollifield import MollifieldCalculator

    rng = np.random.default_rng(task.seed)
    atoms = Atoms(task.start)
    atoms.calc = MollifieldCalculator(task.model, device=task.device)
    masses = np.repeat(atoms.get_masses(), 3)
    values, vectors = np.linalg.eigh(hessian(atoms) / np.sqrt(np.outer(masses, masses)))
    # Frequencies in ASE's units of 1/time; those of rigid motion are the smallest in size.
    frequencies = np.sqrt(np.abs(values))
    kept = np.argsort(frequencies)[n_rigid(atoms) :]
    softest = settings.least * units.invcm / (units._hbar * units.J * units.s)
    for temperature in np.linspace(*settings.temperature, settings.n_frames):
        amplitudes = np.sqrt(units.kB * temperature) / np.maximum(frequencies[kept], softest)
        moved = vectors[:, kept] @ (amplitudes * rng.normal(size=len(kept))) / np.sqrt(masses)
        frame = atoms.copy()
        frame.positions += moved.reshape(-1, 3)
        yield frame, {TEMPERATURE: float(temperature)}


def hessian(atoms: Atoms) -> NDArray[np.float64]:
    """`[3N, 3N]` eV/Å² by central differences of the forces of the calculator, symmetrised."""
    rows = []
    start = atoms.get_positions()
    for index in range(start.size):
        ends = []
        for step in (STEP_LENGTH, -STEP_LENGTH):
            moved = start.copy()
            moved.flat[index] += step
            atoms.set_positions(moved)
            ends.append(atoms.get_forces().ravel())
        rows.append((ends[1] - ends[0]) / (2 * STEP_LENGTH))
    atoms.set_positions(start)
    found = np.array(rows)
    return (found + found.T) / 2


def n_rigid(atoms: Atoms) -> int:
    """Motions that leave the energy: three translations, and rotations of what is not periodic."""
    if atoms.pbc.any():
        return 3
    if len(atoms) == 1:
        return 3
    moments = atoms.get_moments_of_inertia()
    return 5 if moments[0] < 1e-6 * moments[-1] else 6
