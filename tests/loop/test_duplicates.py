"""One geometry in its many guises."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mollifield_lammps import read_uncertain, write_data
from mollifield_train.active.duplicates import Geometries, same_geometry
from tests.conftest import ethanol, sheared_crystal, slab

FRAMES = [ethanol, sheared_crystal, slab]


@pytest.mark.parametrize("make", FRAMES)
def test_rounding(make) -> None:
    """Either side of a boundary of the rounding of a hash is the same place."""
    atoms, other = make(), make()
    atoms.positions[0, 0], other.positions[0, 0] = 0.1234565 - 1e-9, 0.1234565 + 1e-9
    assert same_geometry(atoms, other)
    other.positions[0, 0] += 1e-3
    assert not same_geometry(atoms, other)


@pytest.mark.parametrize("make", FRAMES)
def test_rigid_translation(make) -> None:
    atoms, other = make(), make()
    other.positions += [0.3, -7.1, 2.0]
    assert same_geometry(atoms, other)


@pytest.mark.parametrize("make", [sheared_crystal, slab])
def test_periodic_images(make) -> None:
    atoms, other = make(), make()
    rng = np.random.default_rng(0)
    shifts = rng.integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
    other.positions += shifts @ atoms.cell.array
    assert same_geometry(atoms, other)
    other.wrap()
    assert same_geometry(atoms, other)


def test_another_choice_of_lattice_vectors() -> None:
    atoms, other = sheared_crystal(), sheared_crystal()
    other.set_cell(np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]]) @ atoms.cell.array)
    assert same_geometry(atoms, other)
    other.set_cell(1.001 * atoms.cell.array)
    assert not same_geometry(atoms, other)
    other.set_cell(np.array([[1, 0, 0], [0, 2, 0], [0, 0, 1]]) @ atoms.cell.array)
    assert not same_geometry(atoms, other)


def test_turned_molecule() -> None:
    atoms, other = ethanol(), ethanol()
    other.rotate(70, [1, 2, 3])
    assert same_geometry(atoms, other)


def test_other_atoms_are_other_frames() -> None:
    atoms = bulk("Cu")
    assert not same_geometry(atoms, bulk("Ni", a=3.61))
    assert not same_geometry(atoms, atoms * (1, 1, 2))
    assert not same_geometry(molecule("H2O"), molecule("H2O", vacuum=5.0, pbc=True))


@pytest.mark.parametrize("make", FRAMES)
def test_a_trip_through_lammps(make, tmp_path) -> None:
    """Wrapped, turned and back, with other lattice vectors: still the frame that the trajectory started from."""
    atoms = make()
    rotation = write_data(tmp_path / "start.data", atoms, ["C", "H", "O"])
    from mollifield_lammps.data import place_atoms

    placed = place_atoms(atoms)
    there = Atoms(atoms.numbers, placed.positions, cell=placed.cell, pbc=atoms.pbc)
    there.set_array("forces_mean", np.zeros((len(atoms), 3)))
    there.info["step"] = 0
    there.write(tmp_path / "frames.extxyz")
    (back,) = read_uncertain(tmp_path / "frames.extxyz", rotation)
    assert same_geometry(atoms, back)
    assert Geometries([("start", atoms)]).find(back) == "start"


def test_many_known_frames() -> None:
    frames = []
    for seed in range(30):
        frames.append(ethanol())
        frames[-1].rattle(0.01, seed=seed)
    known = Geometries((str(seed), atoms) for seed, atoms in enumerate(frames))
    moved = frames[17].copy()
    moved.rotate(30, "z")
    moved.positions += 5.0
    assert known.find(moved) == "17"
    moved.positions[0] += 0.01
    assert known.find(moved) is None
    known.add("new", moved)
    assert known.find(moved) == "new"


def test_frames_of_one_cell_are_told_apart_by_few_numbers(monkeypatch) -> None:
    """A trajectory of a crystal has one cell: only frames whose atoms lie alike are compared atom by atom."""
    frames = []
    for seed in range(30):
        frames.append(sheared_crystal())
        frames[-1].rattle(0.02, seed=seed)
    known = Geometries((str(seed), atoms) for seed, atoms in enumerate(frames))
    compared = []

    def noted(first: Atoms, second: Atoms) -> bool:
        compared.append(second)
        return same_geometry(first, second)

    monkeypatch.setattr("mollifield_train.active.duplicates.same_geometry", noted)
    moved = frames[17].copy()
    moved.set_cell(np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]]) @ moved.cell.array)
    moved.positions += np.random.default_rng(0).integers(-2, 3, size=(len(moved), 3)) @ moved.cell.array + 0.3
    assert known.find(moved) == "17"
    assert len(compared) == 1
