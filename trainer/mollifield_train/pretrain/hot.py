"""One trajectory of a cheap reference method: hot, and over in a fraction of a second for a small molecule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import thermalize_momenta
from ase.stress import voigt_6_to_full_3x3_stress

from ..oracle import make_calculator
from ..oracle.calculators import OracleConfig
from ..oracle.dynamics import langevin
from ..oracle.labels import stress_of
from ..oracle.workers import still_working

MASS = 12.0
"""u, of every atom: what is sampled does not depend on masses, and with light atoms as heavy as the others a step may
be `TIMESTEP` long, a tenth of the shortest period."""
TIMESTEP, DAMPING = 2.0, 50.0
"""fs."""
EVERY = 5
"""Steps between two frames: half of the shortest period."""
STRAIN = 0.02
"""Standard deviation of each component of the strain of a cell that is periodic in three directions."""
HIGHEST = 3.0
"""Potential energy above the start's, in k_B T for each atom, at which a trajectory counts as broken. A harmonic system
has 1.5, and for ten atoms or more next to never twice as much."""


@dataclass
class Trajectory:
    """What one trajectory gave, in plain values that JSON can hold; K frames."""

    energy: float | None
    """Of the frame that it started from, eV; None where the calculator failed on it."""
    cells: list[Any] = field(default_factory=list)
    """[K, 3, 3], Å."""
    positions: list[Any] = field(default_factory=list)
    """[K, N, 3], Å."""
    energies: list[float] = field(default_factory=list)
    """[K], eV."""
    forces: list[Any] = field(default_factory=list)
    """[K, N, 3], eV/Å."""
    stresses: list[Any] = field(default_factory=list)
    """[K, 3, 3], eV/Å^3, or [K] None."""
    reason: str = ""
    """Why it ended before it should; what it has is good."""


def hot_trajectory(
    start: Atoms, n_frames: int, temperature: float, oracle: OracleConfig, seed: Sequence[int]
) -> Trajectory:
    """`n_frames` of Langevin dynamics at `temperature` (K) from `start`, strained where it is a crystal.

    Run in a worker; each calculation has the oracle's time limit. Never raises for what the calculator does.
    """
    found = Trajectory(None)
    try:
        atoms = Atoms(start.numbers, start.get_positions(), cell=start.cell, pbc=start.pbc)
        atoms.calc = make_calculator(oracle)
        found.energy = float(atoms.get_potential_energy())
        _run(atoms, found, n_frames, temperature, np.random.default_rng(seed))
    except Exception as error:  # a calculator may raise anything
        found.reason = f"{type(error).__name__}: {error}"
    return found


def _run(atoms: Atoms, found: Trajectory, n_frames: int, temperature: float, rng: np.random.Generator) -> None:
    if atoms.pbc.all():
        strain = rng.normal(scale=STRAIN, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
    atoms.set_masses(np.full(len(atoms), MASS))
    thermalize_momenta(atoms, temperature, rng=rng)
    highest = float(atoms.get_potential_energy()) + HIGHEST * len(atoms) * units.kB * temperature
    dynamics = langevin(atoms, temperature, TIMESTEP, DAMPING, rng)
    forces = atoms.get_forces()
    for _ in range(n_frames):
        for _ in range(EVERY):
            forces = dynamics.step(forces)
            still_working()
        energy = float(atoms.get_potential_energy())
        if not np.isfinite([energy, *np.ravel(forces)]).all():
            raise ValueError("the oracle returned numbers that are not finite")
        if energy > highest:
            raise ValueError(f"broken: {energy - highest:.3g} eV above what {temperature:.0f} K can do")
        stress = stress_of(atoms)
        found.cells.append(atoms.cell.array.tolist())
        found.positions.append(atoms.get_positions().tolist())
        found.energies.append(energy)
        found.forces.append(np.array(forces).tolist())
        found.stresses.append(None if stress is None else voigt_6_to_full_3x3_stress(stress).tolist())
