"""Structures to LAMMPS's frame and back."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read

from mollifield import find_edges
from mollifield_lammps import lammps_boundary, write_data
from mollifield_lammps.run import read_thermo

R_MAX = 3.0


def edges_of(atoms):
    """Sorted edge lengths: equal for equal structures, whatever the frame and the choice of cell."""
    edges = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, R_MAX)
    return np.sort(np.linalg.norm(edges.edge_vectors, axis=1))


def random_atoms(rng, pbc):
    cell = rng.normal(size=(3, 3)) * 3.0
    while abs(np.linalg.det(cell)) < 30.0:
        cell = rng.normal(size=(3, 3)) * 3.0
    atoms = Atoms("HCO", scaled_positions=rng.random((3, 3)), cell=cell, pbc=pbc)
    atoms.set_velocities(rng.normal(size=(3, 3)))
    return atoms


@pytest.mark.parametrize("pbc", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_same_structure_for_any_cell(pbc, tmp_path):
    """Left- and right-handed, needle-like and flat cells, every periodicity; read by ASE."""
    rng = np.random.default_rng(5)
    for _ in range(10):
        atoms = random_atoms(rng, pbc)
        rotation = write_data(tmp_path / "atoms.data", atoms, ["H", "C", "O"])
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        back = read(tmp_path / "atoms.data", format="lammps-data", atom_style="atomic", units="metal")
        back.pbc = pbc
        assert back.get_chemical_symbols() == ["H", "C", "O"]
        np.testing.assert_allclose(edges_of(back), edges_of(atoms), atol=1e-9)
        np.testing.assert_allclose(back.get_velocities() @ rotation.T, atoms.get_velocities(), atol=1e-9)
        # LAMMPS: right-handed, a along x, b in the xy plane, tilt at most half a box length and periodic.
        cell = np.array(back.cell)
        assert (np.triu(cell, 1) == 0.0).all() and (np.diag(cell) > 0.0).all()
        for row, column in ((1, 0), (2, 0), (2, 1)):
            limit = 0.5 * cell[column, column] * (pbc[row] and pbc[column])
            assert abs(cell[row, column]) <= limit * (1.0 + 1e-12) + 1e-12


def test_boxes_stay_boxes(tmp_path):
    atoms = molecule("CH3CH2OH", vacuum=4.0)
    for pbc in (False, True, (True, True, False)):
        atoms.pbc = pbc
        np.testing.assert_allclose(write_data(tmp_path / "a", atoms, ["H", "C", "O"]), np.eye(3), atol=1e-12)
    assert lammps_boundary(atoms) == "p p m"


def test_units_of_velocities(tmp_path):
    """1 Å/fs is 1000 Å/ps."""
    from ase.units import fs

    atoms = Atoms("H", velocities=[[1.0 / fs, 0, 0]])
    for units, expected in (("metal", 1000.0), ("real", 1.0)):
        write_data(tmp_path / "a", atoms, ["H"], units)
        line = (tmp_path / "a").read_text().splitlines()[-1]
        assert float(line.split()[1]) == pytest.approx(expected)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"species": ["H"]}, r"elements \['C', 'O'\] are not among the species \['H'\]"),
        ({"units": "lj"}, "units 'lj'; allowed: metal, real"),
        ({"atoms": Atoms("H", pbc=True)}, "no extent along a periodic axis"),
    ],
)
def test_wrong_input(change, message, tmp_path):
    arguments = {"atoms": molecule("CH3CH2OH"), "species": ["H", "C", "O"], **change}
    with pytest.raises(ValueError, match=message):
        write_data(tmp_path / "a", **arguments)


def test_thermo_of_several_runs():
    """Runs with the same columns follow each other; text between the lines is not a number."""
    log = """
   Step          Temp
         0   1
WARNING: something
Loop time of 1 on 1 procs
   Step          PotEng
         0  -1.5
        10  -2.5
Loop time of 1 on 1 procs
   Step          PotEng
        10  -2.5
"""
    thermo = read_thermo(log)
    assert thermo.keys() == {"Step", "PotEng"}
    assert thermo["PotEng"].tolist() == [-1.5, -2.5, -2.5]
    assert read_thermo("LAMMPS (22 Jul 2025)\n") == {}
