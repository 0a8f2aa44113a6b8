"""What a learned surface is like away from its training frames: wiggles along lines, scans of bonds, dynamics.

Functions of `Evaluate`, so that a model, a calculator and a formula are measured alike. Distances in Å, energies in eV,
time in fs, except where a name says otherwise.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.data import covalent_radii
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta

from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import Frame
from mollifield_train.model.protocol import Potential
from mollifield_train.predict import predict

Evaluate = Callable[[Sequence[Atoms]], tuple[np.ndarray, np.ndarray]]
"""From S geometries of the same N atoms to energies [S] and forces [S, N, 3]."""

BONDED = 1.25
"""Times the sum of covalent radii: nearer atoms are bonded."""
TORN, FUSED = 1.7, 0.5
"""Times the same sum: a bond longer than the first, or a pair nearer than the second, ends a trajectory."""
AT_ONCE = 16
"""Geometries of a batch."""


class Dynamics(NamedTuple):
    """Of trajectories at one temperature."""

    failed_ps: list[float | None]
    """When each broke; None: not within its length."""
    drift: float | None
    """Median |slope| of the total energy of those that did not break, eV/atom/ps; None: all did."""


def by_model(model: Potential) -> Evaluate:
    """The mean of a model's members."""

    def evaluate(images: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
        energies, forces = [], []
        for k in range(0, len(images), AT_ONCE):
            frames = [Frame.unlabelled(atoms, "memory") for atoms in images[k : k + AT_ONCE]]
            found = predict(model, collate(build_graphs(frames, model.species, model.r_max)))
            energies.append(found.energies.mean(dim=0).numpy())
            forces.append(found.forces.double().mean(dim=0).view(len(frames), -1, 3).numpy())
        return np.concatenate(energies), np.concatenate(forces)

    return evaluate


def by_calculator(calculator: Calculator) -> Evaluate:
    """ASE's, one geometry after the other."""

    def evaluate(images: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
        energies, forces = [], []
        for atoms in images:
            copy = atoms.copy()
            copy.calc = calculator
            energies.append(copy.get_potential_energy())
            forces.append(copy.get_forces())
        return np.array(energies), np.array(forces)

    return evaluate


def remembered(evaluate: Evaluate) -> Evaluate:
    """The same, which computes no list of geometries twice."""
    known: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def evaluate_once(images: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
        key = b"".join(a.tobytes() for atoms in images for a in (atoms.numbers, atoms.positions, atoms.cell.array))
        if key not in known:
            known[key] = evaluate(images)
        return known[key]

    return evaluate_once


def random_lines(starts: Sequence[Atoms], rng: np.random.Generator, reach: float, n: int) -> list[list[Atoms]]:
    """A line of `n` geometries through each start; an atom moves by `reach` in the root mean square to either end."""
    lines = []
    for atoms in starts:
        direction = rng.normal(size=(len(atoms), 3))
        direction *= np.sqrt(len(atoms)) / np.linalg.norm(direction)
        lines.append([_moved(atoms, t * direction) for t in np.linspace(-reach, reach, n)])
    return lines


def bond_scans(starts: Sequence[Atoms], rng: np.random.Generator, reach: float, n: int) -> list[list[Atoms]]:
    """In each start one random bond is shortened and stretched by up to `reach`; half of it is done by either atom."""
    lines = []
    for atoms in starts:
        i, j = rng.permutation(bonds(atoms))[0]
        along = atoms.get_distance(i, j, mic=True, vector=True)
        direction = np.zeros((len(atoms), 3))
        direction[j] = 0.5 * along / np.linalg.norm(along)
        direction[i] = -direction[j]
        lines.append([_moved(atoms, t * direction) for t in np.linspace(-reach, reach, n)])
    return lines


def roughness(evaluate: Evaluate, lines: Sequence[Sequence[Atoms]]) -> float:
    """Root mean square of the force's second derivative along lines of evenly spaced geometries, eV/Å³.

    The force is that along the line, for 1 Å of it. After the force smoothness of bond scans (BSCT, arXiv 2602.04861):
    of a harmonic surface it is zero, of the true surface it is not, so compare with the reference method's.
    """
    second = []
    for line in lines:
        steps = np.diff([atoms.positions for atoms in line], axis=0)
        length = np.linalg.norm(steps[0])
        _, forces = evaluate(line)
        along = np.einsum("sia,ia->s", forces, steps[0] / length)
        second.append(np.diff(along, 2) / length**2)
    return float(np.sqrt(np.mean(np.square(second))))


def force_error(evaluate: Evaluate, reference: Evaluate, lines: Sequence[Sequence[Atoms]]) -> float:
    """Root mean square over components on lines, eV/Å."""
    errors = [evaluate(line)[1] - reference(line)[1] for line in lines]
    return float(np.sqrt(np.mean(np.square(errors))))


def bonds(atoms: Atoms) -> np.ndarray:
    """Pairs [P, 2] of bonded atoms, each once."""
    distances, radii = atoms.get_all_distances(mic=True), covalent_radii[atoms.numbers]
    near = distances < BONDED * (radii[:, None] + radii)
    return np.argwhere(np.triu(near, 1))


def dynamics(
    evaluate: Evaluate, starts: Sequence[Atoms], temperature: float, n_steps: int, timestep: float, seed: int
) -> Dynamics:
    """Runs at constant energy from each start with velocities of `temperature` (K), all in step.

    Velocity Verlet. A trajectory ends when a bond of its start is torn, or atoms are fused; Δt of hydrogen: 0.5 fs.
    """
    images, rng = [atoms.copy() for atoms in starts], np.random.default_rng(seed)
    for atoms in images:
        thermalize_momenta(atoms, temperature, rng=rng)
        Stationary(atoms)
        if not atoms.pbc.any():
            ZeroRotation(atoms)
    kept = [bonds(atoms) for atoms in images]
    dt, failed, totals = timestep * units.fs, [None] * len(images), [[] for _ in images]
    energies, forces = evaluate(images)
    for step in range(n_steps):
        running = [k for k, when in enumerate(failed) if when is None]
        if not running:
            break
        for k in running:
            images[k].set_momenta(images[k].get_momenta() + 0.5 * dt * forces[k])
            images[k].positions += dt * images[k].get_velocities()
            if _broken(images[k], kept[k]):
                failed[k] = (step + 1) * timestep * 1e-3
        running = [k for k in running if failed[k] is None]
        if running:
            energies[running], forces[running] = evaluate([images[k] for k in running])
        for k in running:
            images[k].set_momenta(images[k].get_momenta() + 0.5 * dt * forces[k])
            totals[k].append((energies[k] + images[k].get_kinetic_energy()) / len(images[k]))
    time = 1e-3 * timestep * np.arange(n_steps)
    slopes = [abs(np.polyfit(time, totals[k], 1)[0]) for k, when in enumerate(failed) if when is None]
    return Dynamics(failed, float(np.median(slopes)) if slopes else None)


def _moved(atoms: Atoms, displacement: np.ndarray) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions + displacement, cell=atoms.cell, pbc=atoms.pbc)


def _broken(atoms: Atoms, kept: np.ndarray) -> bool:
    if not np.isfinite(atoms.positions).all():
        return True
    distances, radii = atoms.get_all_distances(mic=True), covalent_radii[atoms.numbers]
    over = distances / (radii[:, None] + radii) + 10.0 * np.eye(len(atoms))
    return bool((over[tuple(kept.T)] > TORN).any() or (over < FUSED).any())
