"""What any interatomic potential must obey, through every engine. float64 unless said.

Each check takes an engine whose model has the species and the cutoff of `systems`, and raises AssertionError.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from .engines import Engine
from .systems import FRAMES, R_MAX, ethanol, sheared_crystal

STEP = 1e-4  # Å or strain; central differences err by STEP^2 times a third derivative


def forces_are_minus_the_gradient(engine: Engine, frame: Atoms) -> None:
    """Central differences of the energy."""
    forces = engine(frame).forces
    scale = np.abs(forces).max()
    for atom, axis in ((0, 0), (1, 2), (len(frame) - 1, 1)):
        energies = []
        for sign in (1, -1):
            moved = frame.copy()
            moved.positions[atom, axis] += sign * STEP
            energies.append(engine(moved).energies)
        numerical = -(energies[0] - energies[1]) / (2 * STEP)
        np.testing.assert_allclose(forces[:, atom, axis], numerical, atol=2e-6 * scale)


def virial_is_minus_the_strain_derivative(engine: Engine) -> None:
    """dE/d(strain_ab) = -virial_ab, all six components, on a sheared triclinic cell."""
    frame = sheared_crystal()
    virial = engine(frame).virial
    for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * STEP / 2
            strain[b, a] += sign * STEP / 2
            strained = frame.copy()
            strained.set_cell(frame.cell.array @ strain.T, scale_atoms=True)
            energies.append(engine(strained).energies)
        numerical = -(energies[0] - energies[1]) / (2 * STEP)
        symmetric = (virial[:, a, b] + virial[:, b, a]) / 2
        np.testing.assert_allclose(symmetric, numerical, atol=2e-6 * np.abs(virial).max())


def virial_is_symmetric_and_forces_sum_to_zero(engine: Engine) -> None:
    answer = engine(sheared_crystal())
    np.testing.assert_allclose(answer.virial, answer.virial.swapaxes(1, 2), atol=1e-9)
    np.testing.assert_allclose(answer.forces.sum(1), 0.0, atol=1e-10)


def turns_with_the_frame(engine: Engine, improper: bool) -> None:
    """E(3): energies stay, forces and virials turn, in every member."""
    rotation = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix() * (-1 if improper else 1)
    for frame in (sheared_crystal(), ethanol()):
        turned = frame.copy()
        turned.set_cell(frame.cell.array @ rotation.T)
        turned.positions = frame.positions @ rotation.T
        before, after = engine(frame), engine(turned)
        np.testing.assert_allclose(after.energies, before.energies, atol=1e-9)
        np.testing.assert_allclose(after.forces, before.forces @ rotation.T, atol=1e-9)
        if frame.pbc.all():
            expected = rotation @ before.virial @ rotation.T
            np.testing.assert_allclose(after.virial, expected, atol=1e-9)


def translation_and_wrapping_change_nothing(engine: Engine) -> None:
    """Nor in which image an atom is."""
    frame = sheared_crystal()
    moved = frame.copy()
    moved.positions += [1.3, -2.9, 11.0]
    wrapped = moved.copy()
    wrapped.wrap()
    for other in (moved, wrapped):
        np.testing.assert_allclose(engine(other).energies, engine(frame).energies, atol=1e-9)
        np.testing.assert_allclose(engine(other).forces, engine(frame).forces, atol=1e-9)


def permutation_permutes(engine: Engine, frame: Atoms) -> None:
    """In every member."""
    order = np.random.default_rng(0).permutation(len(frame))
    before, after = engine(frame), engine(frame[order])
    np.testing.assert_allclose(after.energies, before.energies, atol=1e-9)
    np.testing.assert_allclose(after.forces, before.forces[:, order], atol=1e-9)
    np.testing.assert_allclose(after.atomic_energies, before.atomic_energies[:, order], atol=1e-9)


def energy_is_the_sum_of_atomic_energies(engine: Engine, frame: Atoms) -> None:
    """To rounding."""
    answer = engine(frame)
    np.testing.assert_allclose(answer.atomic_energies.sum(1), answer.energies, rtol=1e-13)


def supercell_repeats_the_cell(engine: Engine) -> None:
    """A cell smaller than the cutoff sees its own images just as a larger one does."""
    cell = sheared_crystal()
    assert np.linalg.norm(cell.cell.array, axis=1).min() < R_MAX
    double = cell * (2, 1, 1)
    np.testing.assert_allclose(engine(double).energies, 2 * engine(cell).energies, atol=1e-9)
    np.testing.assert_allclose(engine(double).forces, np.concatenate([engine(cell).forces] * 2, axis=1), atol=1e-9)


def an_isolated_atom_feels_nothing(engine: Engine) -> None:
    """And has a finite energy."""
    answer = engine(Atoms("O", positions=[[0.0, 0.0, 0.0]]))
    assert np.isfinite(answer.energies).all()
    np.testing.assert_array_equal(answer.forces, 0.0)


def smooth_across_the_cutoff(engine: Engine) -> None:
    """Two atoms at r_max: energy meets the separated atoms', and the force vanishes, continuously."""

    def pair(distance: float) -> Atoms:
        return Atoms("CO", positions=[[0, 0, 0], [distance, 0, 0]])

    outside = engine(pair(R_MAX + 1e-6))
    inside = engine(pair(R_MAX - 1e-3))
    closer = engine(pair(R_MAX - 0.5))
    np.testing.assert_array_equal(outside.forces, 0.0)
    assert np.abs(closer.forces).max() > 1e-4
    np.testing.assert_allclose(inside.energies, outside.energies, atol=1e-7)
    np.testing.assert_allclose(inside.forces, 0.0, atol=1e-4)


def far_molecules_do_not_see_each_other(engine: Engine) -> None:
    """50 Å apart."""
    one = ethanol()
    far = one.copy()
    far.positions += [50.0, 0.0, 0.0]
    np.testing.assert_allclose(engine(one + far).energies, 2 * engine(one).energies, rtol=1e-13)


def single_precision_agrees(single: Engine, double: Engine) -> None:
    """float32 keeps 1e-6 of the energy per atom's size and 1e-5 of the largest force."""
    for frame in (ethanol(), sheared_crystal()):
        d, s = double(frame), single(frame)
        np.testing.assert_allclose(s.energies, d.energies, atol=1e-6 * np.abs(d.atomic_energies).max())
        np.testing.assert_allclose(s.forces, d.forces, atol=1e-5 * np.abs(d.forces).max())


def _checks() -> Iterator[tuple[str, Callable[[Engine], None]]]:
    for of_a_frame in (forces_are_minus_the_gradient, permutation_permutes, energy_is_the_sum_of_atomic_energies):
        for name, frame in FRAMES.items():
            yield f"{of_a_frame.__name__}, {name}", partial(of_a_frame, frame=frame())
    for name, improper in (("rotation", False), ("rotoinversion", True)):
        yield f"turns_with_the_frame, {name}", partial(turns_with_the_frame, improper=improper)
    for check in (
        virial_is_minus_the_strain_derivative,
        virial_is_symmetric_and_forces_sum_to_zero,
        translation_and_wrapping_change_nothing,
        supercell_repeats_the_cell,
        an_isolated_atom_feels_nothing,
        smooth_across_the_cutoff,
        far_molecules_do_not_see_each_other,
    ):
        yield check.__name__, check


CHECKS: dict[str, Callable[[Engine], None]] = dict(_checks())
"""All of them but `single_precision_agrees`, by name."""
