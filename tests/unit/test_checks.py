"""What is odd about data is said with the numbers of the frames, and only then."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mollifield_train.data.checks import check_frames
from mollifield_train.data.frames import frames_from_atoms

from .frames import labelled, moved_water


@pytest.fixture
def images() -> list[Atoms]:
    """Ten usual frames."""
    images = moved_water(10)
    for k, atoms in enumerate(images):
        atoms.calc.results["energy"] = -300.0 + 0.05 * k
    return images


def notes(images: list[Atoms]) -> list[str]:
    return check_frames(frames_from_atoms(images, "a.xyz"))


def test_usual_frames_are_not_remarked_upon(images):
    assert notes(images) == []
    assert notes(images[:1]) == []


def test_outliers_are_named(images):
    images[3].calc.results["forces"][1, 2] = 1e4
    images[7].calc.results["forces"][0, 0] = -200.0
    assert len(notes(images)) == 1
    assert notes(images)[0].startswith("forces up to 1e+04 eV/Å") and notes(images)[0].endswith("frames 3, 7 of a.xyz")
    images[5].calc.results["energy"] += 30.0
    (line,) = [line for line in notes(images) if line.startswith("energies")]
    assert "10 eV/atom" in line and line.endswith(": frame 5 of a.xyz")


def test_energies_are_judged_with_their_composition():
    """Two molecules of very different energies are not outliers of each other."""
    frames = []
    for k in range(10):
        atoms = molecule("CO" if k % 2 else "H2O")
        atoms.positions[0, 0] += 0.01 * k
        frames.append(labelled(atoms, -3100.0 if k % 2 else -2070.0))
    assert notes(frames) == []


def test_copies_are_named_with_what_their_energies_differ_by(images):
    again = images[2].copy()
    again.calc = images[2].calc
    assert notes([*images, again]) == ["copies of a geometry, 1 too many: frames 2, 10 of a.xyz"]
    other = labelled(images[2], images[2].get_potential_energy() + 0.25)
    assert notes([*images, other]) == [
        "copies of a geometry, 1 too many; energies differ by up to 0.25 eV: frames 2, 10 of a.xyz"
    ]


def test_many_frames_are_counted(images):
    for atoms in images[:7]:
        del atoms.calc.results["forces"]
    (line,) = notes(images)
    assert (
        line == "7 of 10 frames have no forces and count for what they have: frames 0, 1, 2, 3, 4 of a.xyz and 2 more"
    )


def test_stress_that_nobody_computed_is_named():
    crystals = [labelled(bulk("Si", a=5.4 + 0.01 * k), stress=np.zeros(6) if k == 1 else np.ones(6)) for k in range(3)]
    (line,) = notes(crystals)
    assert line == "stress is exactly zero although forces are not: frame 1 of a.xyz"
