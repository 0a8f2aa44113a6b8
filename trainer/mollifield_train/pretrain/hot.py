"""One trajectory of a cheap reference method: hot, and over in a fraction of a second for a small molecule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import thermalize_momenta
from ase.stress import voigt_6_to_full_3x3_stress

from ..clusters.workers import still_working
from ..oracle import make_calculator
from ..oracle.calculators import OracleConfig
from ..oracle.dynamics import langevin
from ..oracle.labels import label_of
from .pulled import pulled

MASS = 12.0
"""u, of every atom: what is sampled does not depend on masses, and with light atoms as heavy as the others a step may
be `TIMESTEP` long, a tenth of the shortest period."""
TIMESTEP, DAMPING = 2.0, 50.0
"""fs."""
EVERY = 5
"""Steps between two frames: half of the shortest period."""
STRAIN = 0.02
"""Standard deviation of each component of the strain of a cell that is periodic in three directions."""
_PULLS = 1  # keeps its random numbers apart from those of the dynamics
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
    start: Atoms, n_frames: int, temperature: float, oracle: OracleConfig, seed: Sequence[int], part_pulled: float = 0.0
) -> Trajectory:
    """`n_frames` of Langevin dynamics at `temperature` (K) from `start`, strained where it is a crystal.

    Of a molecule's frames `part_pulled` (0 to 1) have a bond pulled apart; the dynamics goes on from what they were.
    Run in a worker; each calculation has the oracle's time limit. Never raises for what the calculator does.
    """
    found = Trajectory(None)
    try:
        atoms = Atoms(start.numbers, start.get_positions(), cell=start.cell, pbc=start.pbc)
        atoms.calc = make_calculator(oracle)
        found.energy = float(atoms.get_potential_energy())
        pulls = np.random.default_rng([*seed, _PULLS])

        def kept(frame: Atoms) -> Atoms:
            as_it_is = frame.pbc.any() or pulls.random() >= part_pulled
            return frame if as_it_is else _apart(frame, oracle, pulls)

        _run(atoms, found, n_frames, temperature, np.random.default_rng(seed), kept)
    except Exception as error:  # a calculator may raise anything
        found.reason = f"{type(error).__name__}: {error}"
    return found


def _run(
    atoms: Atoms,
    found: Trajectory,
    n_frames: int,
    temperature: float,
    rng: np.random.Generator,
    kept: Callable[[Atoms], Atoms],
) -> None:
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
        if np.isfinite(energy) and energy > highest:
            raise ValueError(f"broken: {energy - highest:.3g} eV above what {temperature:.0f} K can do")
        _keep(kept(atoms), found)


def _apart(atoms: Atoms, oracle: OracleConfig, rng: np.random.Generator) -> Atoms:
    """The frame with a bond pulled apart; as it was where it has none, or the oracle fails on it, as many do there."""
    found = pulled(atoms, rng)
    if found is None:
        return atoms
    found.calc = make_calculator(oracle)
    try:
        label_of(found)
    except Exception:  # a calculator may raise anything
        return atoms
    still_working()
    return found


def _keep(atoms: Atoms, found: Trajectory) -> None:
    label = label_of(atoms)
    found.cells.append(atoms.cell.array.tolist())
    found.positions.append(atoms.get_positions().tolist())
    found.energies.append(label.energy)
    found.forces.append(label.forces.tolist())
    found.stresses.append(None if label.stress is None else voigt_6_to_full_3x3_stress(label.stress).tolist())
