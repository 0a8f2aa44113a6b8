"""Langevin dynamics in ASE, set up the same way wherever it is run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta

from ..clusters.workers import still_working
from . import make_calculator
from .calculators import OracleConfig
from .labels import Label, label_of


def thermalised(frame: Atoms, temperature: float, rng: np.random.Generator) -> Atoms:
    """A copy of the geometry with velocities of `temperature` (K), neither drifting nor turning."""
    atoms = Atoms(frame.numbers, frame.get_positions(), cell=frame.cell, pbc=frame.pbc)
    thermalize_momenta(atoms, temperature, rng=rng)
    if len(atoms) > 1:  # one atom a cell cannot but drift
        Stationary(atoms)
    if not atoms.pbc.any():
        with np.errstate(invalid="ignore", divide="ignore"):  # ASE divides by the inertia about a line of atoms as well
            ZeroRotation(atoms)
    return atoms


def langevin(atoms: Atoms, temperature: float, timestep: float, damping: float, rng: np.random.Generator) -> Langevin:
    """Dynamics at `temperature` (K) with `timestep` and thermostat time `damping` (fs)."""
    # fixcm=True samples a wrong distribution for small systems (ASE deprecates it).
    return Langevin(
        atoms, timestep * units.fs, temperature_K=temperature, friction=1 / (damping * units.fs), fixcm=False, rng=rng
    )


def labelled(atoms: Atoms) -> Atoms:
    """A copy of the geometry with the label that the calculator of `atoms` gives it; raises as `label_of` does."""
    frame = Atoms(atoms.numbers, atoms.get_positions(), cell=atoms.cell, pbc=atoms.pbc)
    return _keeping(label_of(atoms), frame)


def _keeping(label: Label, atoms: Atoms) -> Atoms:
    """`atoms` with the label in place of a calculator; a stress of None is left out."""
    atoms.calc = SinglePointCalculator(atoms, energy=label.energy, forces=label.forces, stress=label.stress)
    return atoms


def sampled(dynamics: Langevin, n_frames: int, n_steps: int) -> list[Atoms]:
    """Labelled frames, each `n_steps` after the one before."""
    frames = []
    for _ in range(n_frames):
        dynamics.run(n_steps)
        frames.append(labelled(dynamics.atoms))
    return frames


def oracle_stretch(
    start: Atoms,
    n_steps: int,
    oracle: OracleConfig,
    temperature: float,
    timestep: float,
    damping: float,
    seed: Sequence[int],
) -> Atoms:
    """The labelled frame `n_steps` of the oracle's dynamics after `start`, which has momenta and a label.

    `temperature`, `timestep` and `damping`: see `langevin`. Run in a worker; each step has the oracle's time limit.
    """
    forces = start.get_forces()  # a label, which is not computed again
    atoms = start.copy()
    atoms.calc = make_calculator(oracle)
    rng = np.random.default_rng(seed)
    dynamics = langevin(atoms, temperature, timestep, damping, rng)
    for _ in range(n_steps):
        forces = dynamics.step(forces)
        still_working()
    return _keeping(label_of(atoms), atoms)
