"""Langevin dynamics in ASE, set up the same way wherever the loop runs it."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta


def thermalised(frame: Atoms, temperature: float, rng: np.random.Generator) -> Atoms:
    """A copy of the geometry with velocities of ``temperature`` (K), neither drifting nor turning."""
    atoms = Atoms(frame.numbers, frame.get_positions(), cell=frame.cell, pbc=frame.pbc)
    thermalize_momenta(atoms, temperature, rng=rng)
    if len(atoms) > 1:  # one atom a cell cannot but drift
        Stationary(atoms)
    if not atoms.pbc.any():
        ZeroRotation(atoms)
    return atoms


def langevin(
    atoms: Atoms, temperature: float, timestep: float, damping: float, rng: np.random.Generator
) -> Langevin:
    """Dynamics at ``temperature`` (K) with ``timestep`` and thermostat time ``damping`` (fs)."""
    # fixcm=True samples a wrong distribution for small systems (ASE deprecates it).
    return Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=1 / (damping * units.fs),
        fixcm=False,
        rng=rng,
    )
