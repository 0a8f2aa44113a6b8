"""Energies of species: fitted, given, guessed."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from mollifield_train.data.frames import frames_from_atoms
from mollifield_train.data.shifts import (
    Shifts,
    energy_shifts,
    least_absolute_shifts,
    least_squares_shifts,
    undetermined_species,
)
from mollifield_train.data.statistics import species_of

from .frames import labelled, water


def test_least_squares_recover_shifts_that_compositions_determine():
    true = {"H": -13.6, "C": -1030.0, "O": -2042.0}
    molecules = [molecule(name) for name in ("H2O", "CH4", "CO", "CH3CH2OH")]
    images = [labelled(a, sum(true[s] for s in a.get_chemical_symbols())) for a in molecules]
    frames = frames_from_atoms(images, "memory")
    species = species_of(frames)
    assert species == ["H", "C", "O"]
    for method in ("auto", "least_squares"):
        shifts = energy_shifts(frames, [], species, method)
        assert shifts.energies == pytest.approx([true[s] for s in species], rel=1e-10)
        assert shifts.fitted == species and shifts.undetermined == []


def test_one_composition_leaves_a_guess_and_says_so():
    """All electrons of ethanol: the sum is right, and the parts are nearer to free atoms than those of least norm."""
    true = {"H": -13.57, "C": -1025.28, "O": -2035.57}
    images = [labelled(molecule("CH3CH2OH"), e) for e in (-4209.0, -4210.0)]
    frames = frames_from_atoms(images, "memory")
    found = energy_shifts(frames, [], list(true), "auto")
    assert found.undetermined == found.fitted == list(true)
    h, c, o = found.energies
    assert 6 * h + 2 * c + o == pytest.approx(-4209.5, rel=1e-10)
    assert abs(h - true["H"]) < 5.0 and abs(c - true["C"]) < 30.0 and abs(o - true["O"]) < 30.0


def test_changes_that_no_frame_sees_are_as_large_as_the_guess():
    images = [labelled(molecule(name), energy) for name, energy in (("CH3CH2OH", -230.0), ("CH3OH", -160.0))]
    frames = frames_from_atoms(images, "memory")
    found = energy_shifts(frames, [], ["H", "C", "O"], "auto")
    (row,) = np.array(found.unseen)
    np.testing.assert_allclose([row @ [6, 2, 1], row @ [4, 1, 1]], 0.0, atol=1e-9 * np.linalg.norm(row))
    assert np.linalg.norm(row) == pytest.approx(np.sqrt(np.mean(np.square(found.energies))))
    assert energy_shifts(frames, [], ["H", "C", "O"], {"H": -1.0, "C": -2.0, "O": -3.0}).unseen == []


def test_only_the_species_that_are_traded_are_undetermined():
    """Water and hydrogen tell O from H; CH4 alone does not tell C from anything that comes with it."""
    images = [labelled(molecule(name), -1.0) for name in ("H2O", "H2", "CH3Cl")]
    frames = frames_from_atoms(images, "memory")
    assert undetermined_species(frames, ["H", "C", "O", "Cl"]) == ["C", "Cl"]
    assert undetermined_species(frames, ["H", "O"]) == []
    assert energy_shifts(frames[:0], [], ["H", "O"], "auto").undetermined == ["H", "O"]


def test_shifts_from_isolated_atoms_or_given():
    frames = frames_from_atoms([water()], "memory")
    atoms = [Atoms("H"), Atoms("O")]
    for atom, energy in zip(atoms, (-13.6, -2042.0), strict=True):
        atom.info["energy"] = energy
    isolated = frames_from_atoms(atoms, "memory")
    for method in ("auto", "isolated_atoms"):
        found = energy_shifts(frames, isolated, ["H", "O"], method)
        assert found == Shifts([-13.6, -2042.0], [], [], [])
    with pytest.raises(ValueError, match="no energy shift for O in the isolated atoms"):
        energy_shifts(frames, isolated[:1], ["H", "O"], "isolated_atoms")
    assert energy_shifts(frames, [], ["H", "O"], {"H": -1.0, "O": -2.0, "C": -3.0}).energies == [-1.0, -2.0]
    with pytest.raises(ValueError, match=r"no energy shift for O in model\.shifts; present: H"):
        energy_shifts(frames, [], ["H", "O"], {"H": -1.0})


def test_species_without_an_isolated_atom_are_fitted():
    frames = frames_from_atoms([water(energy=-2070.0)], "memory")
    atom = Atoms("H")
    atom.info["energy"] = -13.6
    found = energy_shifts(frames, frames_from_atoms([atom], "memory"), ["H", "O"], "auto")
    assert found.energies == pytest.approx([-13.6, -2042.8], rel=1e-12)
    assert found.fitted == ["O"] and found.undetermined == []


def test_isolated_atoms_that_contradict_each_other_are_named():
    atoms = [Atoms("H"), Atoms("H")]
    for atom, energy in zip(atoms, (-13.6, -12.1), strict=True):
        atom.info["energy"] = energy
    with pytest.raises(ValueError, match="-13.6 eV in frame 0 of memory, -12.1 eV in frame 1 of memory"):
        energy_shifts([], frames_from_atoms(atoms, "memory"), ["H"], "auto")


def test_absolute_shifts_are_not_moved_by_a_few_bad_frames():
    """Two compositions, known energies, and one frame in ten off by 50 eV."""
    rng = np.random.default_rng(0)
    atoms = [Atoms("HHO" if k % 2 else "HOO", positions=np.eye(3)) for k in range(40)]
    frames = frames_from_atoms([labelled(a) for a in atoms], "test")
    exact = [sum({1: -13.6, 8: -2041.0}[z] for z in a.numbers) for a in atoms]
    energies = np.array([exact]) + rng.normal(0.0, 1e-3, 40)
    energies[0, ::10] += 50.0
    robust = least_absolute_shifts(frames, energies, ["H", "O"])[0]
    np.testing.assert_allclose(robust, [-13.6, -2041.0], atol=2e-3)
    assert abs(least_squares_shifts(frames, energies, ["H", "O"])[0] - robust).max() > 1.0


def test_many_frames_need_no_square_matrix_of_frames():
    """60,000 frames: such a matrix would have 29 GB."""
    frames = frames_from_atoms([water()], "memory") * 60_000
    assert undetermined_species(frames, ["H", "O"]) == ["H", "O"]
