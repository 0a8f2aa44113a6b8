"""Geometries that end a trajectory, and real ones that must not."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mollifield_train.active.config import GuardConfig
from mollifield_train.active.guard import Guard
from mollifield_train.oracle.dynamics import langevin, thermalised

ETHANOL = Path(__file__).parents[2] / "examples" / "ethanol" / "frames.extxyz"


def judge(atoms: Atoms, start: Atoms | None = None, **settings: object) -> str | None:
    return Guard(GuardConfig(**settings), [start or molecule("CH3CH2OH")])(atoms)


def dimer(distance: float = 2.9) -> Atoms:
    """Two water molecules, oxygen atoms `distance` Å apart."""
    pair = molecule("H2O")
    pair.extend(Atoms(pair.numbers, np.add(pair.positions, [0.0, distance, 0.0])))
    return pair


@pytest.mark.parametrize("atoms", [molecule("CH3CH2OH"), bulk("Cu"), bulk("NaCl", "rocksalt", 5.6)])
def test_sound_frames_pass(atoms: Atoms) -> None:
    assert judge(atoms, atoms) is None


def test_overlap_is_named_with_both_atoms() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.positions[4] = atoms.positions[1] + [0.0, 0.0, 0.3]
    assert "atom 1 (C) and atom 4 (H) are 0.300 Å apart" in str(judge(atoms))


def test_overlap_across_the_boundary() -> None:
    atoms = Atoms("Cu2", [[0.1, 0, 0], [3.9, 0, 0]], cell=[4, 4, 4], pbc=True)
    apart = Atoms("Cu2", [[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
    assert "0.200 Å" in str(judge(atoms, apart))


def test_fused_atoms_that_do_not_overlap() -> None:
    """1.2 Å between copper atoms, or 0.7 Å between carbon and hydrogen, is far above `min_distance`."""
    copper = bulk("Cu", cubic=True) * 2
    fused = copper.copy()
    fused.positions[0] += 1.35 * (fused.positions[1] - fused.positions[0]) / 2.553
    assert "nearer than 1.787 Å" in str(judge(fused, copper))
    ethanol = molecule("CH3CH2OH")
    bond = ethanol.positions[6] - ethanol.positions[0]
    ethanol.positions[6] -= (1 - 0.7 / np.linalg.norm(bond)) * bond
    assert "0.700 Å apart" in str(judge(ethanol))


def test_atoms_that_were_far_apart_may_form_a_bond() -> None:
    apart = Atoms("N2", [[0, 0, 0], [0, 0, 3.0]])
    bonded = Atoms("N2", [[0, 0, 0], [0, 0, 1.098]])
    assert judge(bonded, apart) is None


@pytest.mark.parametrize("factor", [1.7, 2.0, 5.0])
def test_stretched_molecule(factor: float) -> None:
    """Fivefold stretched ethanol had a std of 0.000: nothing is left to be uncertain about."""
    atoms = molecule("CH3CH2OH")
    atoms.positions *= factor
    assert "fragments without a bond" in str(judge(atoms))


def test_one_hydrogen_atom_comes_off() -> None:
    """2.2 Å from its oxygen: no gap of 3 Å anywhere."""
    atoms = molecule("CH3CH2OH")
    oxygen = 2
    hydrogen = next(k for k in range(9) if atoms.numbers[k] == 1 and atoms.get_distance(k, oxygen) < 1.1)
    atoms.set_distance(oxygen, hydrogen, 2.2, fix=0)
    reason = (
        "2 fragments without a bond shorter than 1.6 times the covalent radii, the starting frames have 1; "
        f"atom {hydrogen} (H)"
    )
    assert reason in str(judge(atoms))
    assert judge(atoms, bonds=False) is None  # a reaction in the gas phase, if that is what is wanted


def test_exploded_water_dimer() -> None:
    torn = dimer()
    rng = np.random.default_rng(0)
    torn.positions += 1.5 * rng.normal(size=(6, 3))
    assert "fragments" in str(judge(torn, dimer()))
    six = dimer()
    six.positions *= 3.0
    assert "6 fragments" in str(judge(six, dimer()))


def test_molecules_that_belong_apart_may_stay_apart() -> None:
    assert judge(dimer(3.3), dimer()) is None
    assert judge(dimer(12.0), dimer(10.0)) is None
    assert "more than 3 Å apart" in str(judge(dimer(12.0), dimer()))


def test_a_molecule_in_a_periodic_box_where_the_config_says_so() -> None:
    box = molecule("CH3CH2OH", vacuum=6.0)
    box.pbc = True
    torn = box.copy()
    torn.positions[8] += 0.8 * (torn.positions[8] - torn.get_center_of_mass())
    assert judge(torn, box) is None
    assert "fragments" in str(judge(torn, box, bonds=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad: float) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.positions[0, 0] = bad
    assert "not finite" in str(judge(atoms))


def test_ethanol_of_300_k_that_hot_dynamics_does_not_leave() -> None:
    frames = ase.io.read(ETHANOL, ":")
    guard = Guard(GuardConfig(), frames[:5])
    assert [guard(atoms) for atoms in frames] == [None] * len(frames)
    for atoms in frames:
        for factor in (0.85, 1.15):  # far beyond what 600 K does to all bonds at once
            strained = atoms.copy()
            strained.positions *= factor
            assert guard(strained) is None


def test_molten_copper_with_a_vacancy_goes_on() -> None:
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    guard = Guard(GuardConfig(), [atoms])
    rng = np.random.default_rng(0)
    moving = thermalised(atoms, 3000.0, rng)
    moving.calc = EMT()
    dynamics = langevin(moving, 3000.0, 5.0, 100.0, rng)
    for _ in range(20):
        dynamics.run(10)
        assert guard(moving) is None
    lost = atoms.copy() * (1, 1, 2)
    lost.cell[2, 2] += 8.0  # a slab, one of whose atoms evaporates
    before = lost.copy()
    lost.positions[-1, 2] = lost.positions[:, 2].max() + 6.0 - 1.5
    assert "more than 3 Å apart" in str(judge(lost, before))


def test_crystals_with_distances_longer_than_the_gap() -> None:
    caesium = bulk("Cs", cubic=True) * 2
    shaken = caesium.copy()
    shaken.rattle(0.3, seed=0)
    assert judge(shaken, caesium) is None
