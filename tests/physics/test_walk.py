"""Frames walk away from the training data: calibrated stds rise until the model says `outside`."""

from collections.abc import Callable

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mollifield import MollifieldCalculator
from mollifield_train.calibrate.fitting import calibrate_file
from mollifield_train.config import TrainConfig
from mollifield_train.training.run import train

DIP = 0.8
"""The largest std of an atom may fall to this part of what it was: members agree by chance here and there."""
N_STEPS = 16


def labelled(atoms: Atoms, size: float, seed: int) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(size, seed=seed)
    if atoms.pbc.all():
        atoms.set_cell(atoms.cell.array * (1.0 + 0.01 * np.sin(seed)), scale_atoms=True)
    atoms.calc = EMT()
    atoms.get_forces()
    return atoms


def ethanol() -> Atoms:
    return molecule("CH3CH2OH")


def copper() -> Atoms:
    return bulk("Cu", cubic=True)


@pytest.fixture(scope="module")
def calculator(tmp_path_factory: pytest.TempPathFactory) -> MollifieldCalculator:
    """Of six members that learned ethanol and copper for some seconds, calibrated on further frames."""
    folder = tmp_path_factory.mktemp("walk")
    for name, first in (("train", 0), ("held-out", 1000)):
        frames = [labelled(ethanol(), 0.05, first + seed) for seed in range(24)]
        frames += [labelled(copper(), 0.05, first + seed) for seed in range(24)]
        ase.io.write(folder / f"{name}.xyz", frames, format="extxyz")
    config = TrainConfig.model_validate(
        {
            "directory": str(folder / "run"),
            "data": {"train": str(folder / "train.xyz"), "valid_fraction": 0.0},
            "model": {"l_max": 1, "n_layers": 1, "n_channels": 8, "radial_hidden": [16], "r_max": 3.5},
            "committee": {"n_members": 6},
            "optimiser": {"epochs": 25, "batch_size": 8, "learning_rate": 0.01},
        }
    )
    train(config, progress=False, report=lambda line: None)
    calibrate_file(folder / "run" / "model.pt", folder / "held-out.xyz", folder / "model.pt")
    return MollifieldCalculator(folder / "model.pt")


def stretched(x: float) -> Atoms:
    """The O-H bond by up to 1 Å."""
    atoms = ethanol()
    bond = atoms.positions[3] - atoms.positions[2]
    atoms.positions[3] += x * bond / np.linalg.norm(bond)
    return atoms


def pushed_together(x: float) -> Atoms:
    """Two hydrogen atoms of the methyl group, from 1.8 Å to 0.8 Å."""
    atoms = ethanol()
    first, second = [atom.index for atom in atoms if atom.symbol == "H"][-2:]
    between = atoms.positions[second] - atoms.positions[first]
    move = 0.5 * x * between / np.linalg.norm(between)
    atoms.positions[first] += move
    atoms.positions[second] -= move
    return atoms


def compressed(x: float) -> Atoms:
    """A crystal to four fifths of its lattice constant."""
    atoms = copper()
    atoms.rattle(0.05, seed=2)
    atoms.set_cell(atoms.cell.array * (1.0 - 0.2 * x), scale_atoms=True)
    return atoms


def noisy(x: float) -> Atoms:
    """Up to 0.4 Å in each direction."""
    atoms = ethanol()
    atoms.positions += 0.4 * x * np.random.default_rng(7).standard_normal((9, 3))
    return atoms


@pytest.mark.parametrize("walk", [stretched, pushed_together, compressed, noisy])
def test_stds_rise_until_outside_is_said(walk: Callable[[float], Atoms], calculator: MollifieldCalculator) -> None:
    stds: list[float] = []
    outside: list[bool] = []
    for x in np.linspace(0.0, 1.0, N_STEPS):
        atoms = walk(float(x))
        stds.append(float(calculator.get_property("forces_std", atoms).max()))
        outside.append(bool(calculator.results["outside"].any()))
        assert calculator.results["energy_outside"] or not outside[-1]
    assert not outside[0] and outside[-1]
    first = outside.index(True)
    highest = np.maximum.accumulate(stds)
    assert min(np.array(stds[: first + 1]) / highest[: first + 1]) > DIP
    assert stds[first] > 1.5 * stds[0] and stds[-1] > 3.0 * stds[0]
    assert all(outside[first:])  # once outside, no step on leads back in


@pytest.mark.parametrize("name", ["C6H6", "CO2", "H2O"])
def test_a_molecule_that_was_never_seen_is_outside(name: str, calculator: MollifieldCalculator) -> None:
    """Its energy too, and with a std that is as large as the energies of atoms that nobody told apart."""
    atoms = molecule(name)
    stds = calculator.get_property("forces_std", atoms)
    assert calculator.results["outside"].any() and calculator.results["energy_outside"]
    reference = ethanol()
    assert stds.max() > 3.0 * calculator.get_property("forces_std", reference).max()
    assert not calculator.results["energy_outside"]


def test_an_energy_of_another_composition_is_a_guess(calculator: MollifieldCalculator) -> None:
    """Two ethanol molecules are a multiple of what was learned, an ethanol without a hydrogen is not."""
    two, torn = ethanol(), ethanol()
    other = ethanol()
    other.positions += [20.0, 0.0, 0.0]
    two += other
    calculator.get_property("energy_std", two)
    assert not calculator.results["energy_outside"]
    del torn[3]
    assert calculator.get_property("energy_std", torn) > 1.0 and calculator.results["energy_outside"]
