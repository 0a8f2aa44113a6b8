"""pair_style mollifield against the Python engine and against itself. float64 unless said."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from ..conftest import ethanol, sheared_crystal, slab
from .conftest import lammps_answer, python_answer

# float64: both engines sum the same terms of up to 1e3 eV in another order.
ATOL = 1e-9


def tiny_crystal() -> Atoms:
    """Two atoms in a cell of which every edge is shorter than r_max."""
    atoms = bulk("CO", "rocksalt", a=4.2)
    atoms.rattle(0.05, seed=4)
    return atoms


def tilted_slab() -> Atoms:
    """Periodic along the second and third, skewed vectors only."""
    atoms = sheared_crystal()
    atoms.pbc = [False, True, True]
    return atoms


def left_handed() -> Atoms:
    atoms = sheared_crystal()
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    return atoms


def turned_molecule() -> Atoms:
    atoms = ethanol()
    atoms.rotate(35.0, (1.0, 2.0, 3.0))
    return atoms


def large_crystal() -> Atoms:
    """Large enough to be cut between ranks with ghosts of ghosts on both sides."""
    atoms = sheared_crystal() * (3, 2, 2)
    atoms.rattle(0.1, seed=5)
    return atoms


FRAMES = {
    f.__name__: f
    for f in (sheared_crystal, tiny_crystal, slab, tilted_slab, left_handed, ethanol, turned_molecule, large_crystal)
}


def assert_agree(answer, expected, atol=ATOL):
    n_atoms = len(answer.forces)
    energies = expected.energies.numpy()
    assert abs(answer.energy - energies.mean()) < atol * n_atoms
    np.testing.assert_allclose(answer.atomic_energies, expected.atomic_energies.mean(0).numpy(), atol=atol)
    np.testing.assert_allclose(answer.forces, expected.forces.mean(0).numpy(), atol=atol)
    # LAMMPS has six components: the virial of a rotation-invariant energy is symmetric.
    np.testing.assert_allclose(answer.virial, expected.virial.mean(0).numpy(), atol=atol * n_atoms)


@pytest.mark.parametrize("name", FRAMES)
def test_agrees_with_python(name, model_file, tmp_path):
    atoms = FRAMES[name]()
    assert_agree(lammps_answer(model_file, atoms, tmp_path), python_answer(model_file, atoms))


@pytest.mark.parametrize("n_ranks", [2, 4])
@pytest.mark.parametrize("name", ["tiny_crystal", "slab", "turned_molecule", "large_crystal"])
def test_ranks_agree(name, n_ranks, model_file, tmp_path):
    atoms = FRAMES[name]()
    answer = lammps_answer(model_file, atoms, tmp_path, n_ranks)
    assert_agree(answer, python_answer(model_file, atoms))
    check_sums(answer)


def test_three_layers_on_ranks(write_model, tmp_path):
    model = write_model(n_layers=3)
    atoms = large_crystal()
    assert_agree(lammps_answer(model, atoms, tmp_path, 2), python_answer(model, atoms))


def test_one_layer_on_ranks(write_model, tmp_path):
    model = write_model(n_layers=1)
    atoms = large_crystal()
    assert_agree(lammps_answer(model, atoms, tmp_path, 2), python_answer(model, atoms))


@pytest.mark.parametrize("n_ranks", [1, 4])
def test_ranks_without_atoms(n_ranks, model_file, tmp_path):
    """A molecule in a corner of a wide box, so that some ranks own nothing."""
    atoms = ethanol()
    atoms.set_cell([60.0, 60.0, 60.0])
    atoms.pbc = True
    atoms.positions += 5.0 - atoms.positions.min(axis=0)
    answer = lammps_answer(model_file, atoms, tmp_path, n_ranks)
    assert_agree(answer, python_answer(model_file, atoms))


def check_sums(answer):
    n_atoms = len(answer.forces)
    assert abs(answer.atomic_energies.sum() - answer.energy) < ATOL * n_atoms
    np.testing.assert_allclose(answer.atomic_virials.sum(0), answer.virial, atol=ATOL * n_atoms)
    np.testing.assert_allclose(answer.atomic_virials_6.sum(0), answer.virial, atol=ATOL * n_atoms)


def test_atoms_sum_to_the_whole(model_file, tmp_path):
    answer = lammps_answer(model_file, sheared_crystal(), tmp_path)
    check_sums(answer)
    symmetric = 0.5 * (answer.atomic_virials + answer.atomic_virials.transpose(0, 2, 1))
    np.testing.assert_allclose(answer.atomic_virials_6, symmetric, atol=ATOL)
    # The nine components are not symmetric atom by atom; else the centroid output would be the other one.
    assert np.abs(answer.atomic_virials - symmetric).max() > 1e-3


def test_units_real(model_file, tmp_path):
    atoms = sheared_crystal()
    answer = lammps_answer(model_file, atoms, tmp_path, units="real")
    expected = python_answer(model_file, atoms)
    assert abs(answer.energy - expected.energies.mean()) < 1e-9 * len(atoms)
    np.testing.assert_allclose(answer.forces, expected.forces.mean(0).numpy(), atol=ATOL)
    # LAMMPS's constants of real units carry eight digits.
    np.testing.assert_allclose(answer.virial, expected.virial.mean(0).numpy(), atol=1e-6)


def test_float32(write_model, tmp_path):
    model = write_model(torch.float32)
    atoms = sheared_crystal()
    answer, expected = lammps_answer(model, atoms, tmp_path), python_answer(model, atoms)
    # 1e-6 eV/atom and its like, relative to sizes of order 1e3 eV/atom and 10 eV/Å.
    assert abs(answer.energy - expected.energies.mean()) < 1e-6 * abs(answer.energy)
    np.testing.assert_allclose(answer.forces, expected.forces.mean(0).numpy(), atol=2e-5)


def test_isolated_atoms(model_file, tmp_path):
    atoms = Atoms("HCO", positions=[[0, 0, 0], [20, 0, 0], [0, 20, 0]], cell=[40, 40, 40], pbc=True)
    answer = lammps_answer(model_file, atoms, tmp_path)
    expected = python_answer(model_file, atoms)
    np.testing.assert_allclose(answer.atomic_energies, expected.atomic_energies.mean(0).numpy(), atol=ATOL)
    assert not answer.forces.any() and not answer.virial.any()


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_forces_and_virial_are_derivatives(n_ranks, model_file, tmp_path):
    """Central differences of LAMMPS's own energy on a sheared triclinic cell; step 1e-3, error of second order."""
    atoms, step = sheared_crystal(), 1e-3
    answer = lammps_answer(model_file, atoms, tmp_path / "0", n_ranks)

    def slope(change):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            change(moved, sign * step)
            energies.append(lammps_answer(model_file, moved, tmp_path / "1", n_ranks).energy)
        return (energies[0] - energies[1]) / (2 * step)

    def push(moved, size):
        moved.positions[1] += size * np.array([0.6, 0.0, 0.8])

    def shear(moved, size):
        strain = np.eye(3) + size / 2 * (np.eye(3)[[0]].T @ np.eye(3)[[1]] + np.eye(3)[[1]].T @ np.eye(3)[[0]])
        moved.set_cell(moved.cell.array @ strain, scale_atoms=True)

    def stretch(moved, size):
        moved.set_cell(moved.cell.array @ (np.eye(3) + size * np.diag([0, 0, 1])), scale_atoms=True)

    scale = np.abs(answer.forces).max()
    assert abs(-slope(push) - answer.forces[1] @ [0.6, 0.0, 0.8]) < 1e-4 * scale
    scale = np.abs(answer.virial).max()
    assert abs(-slope(shear) - answer.virial[0, 1]) < 1e-4 * scale
    assert abs(-slope(stretch) - answer.virial[2, 2]) < 1e-4 * scale
