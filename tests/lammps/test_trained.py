"""Dynamics on a trained model: copper, learned from a few frames of an effective-medium potential."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from mollifield_lammps import write_data
from mollifield_train.config import TrainConfig
from mollifield_train.export import export
from mollifield_train.training.run import train

from ..lammps_runner import run_deck

TIMESTEP = 0.0005  # ps
DECK = """
units metal
atom_modify map yes
read_data atoms.data
pair_style mollifield
pair_coeff * * {model} Cu
velocity all create 600 4928 loop geom
timestep {timestep}
fix n all nve
thermo 10
thermo_style custom step temp pe etotal
thermo_modify format float %.17g
run {n_steps}
"""


def copper(displacement: float, seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(displacement, seed=seed)
    return atoms


def labelled(seed: int) -> Atoms:
    atoms = copper(0.03 + 0.01 * seed, seed)
    atoms.set_cell(atoms.cell.array * (1.0 + 0.01 * np.sin(seed)), scale_atoms=True)
    atoms.calc = EMT()
    atoms.get_forces()
    return atoms


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copper")
    frames = [labelled(seed) for seed in range(12)]
    ase.io.write(folder / "train.xyz", frames, format="extxyz")
    config = TrainConfig.model_validate(
        {
            "seed": 1,
            "dtype": "float64",
            "directory": str(folder / "run"),
            "data": {"train": str(folder / "train.xyz"), "valid_fraction": 0.1},
            "model": {"l_max": 1, "n_channels": 8, "n_radial": 6, "radial_hidden": [16], "r_max": 4.0},
            "committee": {"n_members": 1},
            "optimiser": {"learning_rate": 0.02, "batch_size": 2, "epochs": 20},
        }
    )
    result = train(config, progress=False)
    export(result.model, folder / "model.pt", frames[:1])
    return folder / "model.pt"


def total_energies(model, directory, timestep, n_steps):
    """(time in ps, total energy of an atom in eV, thermo) of an NVE run from 600 K; `timestep` in ps."""
    atoms = copper(0.0, 0)
    directory.mkdir()
    write_data(directory / "atoms.data", atoms, ["Cu"])
    thermo = run_deck(DECK.format(model=model, timestep=timestep, n_steps=n_steps), directory).thermo
    return thermo["Step"] * timestep, thermo["TotEng"] / len(atoms), thermo


def test_energy_is_conserved(trained, tmp_path):
    """NVE for 1,000 steps of 0.5 fs. Velocity Verlet conserves an energy that differs from E by a fraction
    (omega dt)^2 / 8 of a vibration's; omega is that of copper's fastest phonon. So far E may wander, and no farther."""
    omega = 2.0 * np.pi * 7.5  # rad/ps
    time, energies, thermo = total_energies(trained, tmp_path / "run", TIMESTEP, 1000)
    assert time[-1] == 0.5
    bound = (omega * TIMESTEP) ** 2 / 8.0 * 3.0 * kB * 600.0
    drift = np.polyfit(time, energies, 1)[0]
    assert abs(drift) * time[-1] < bound
    assert np.abs(energies - energies[0]).max() < bound
    # The total is constant to far less than what its two parts exchange, and the crystal stays one.
    assert np.std(energies) < 0.01 * np.std(thermo["PotEng"] / 32)
    assert 150.0 < thermo["Temp"][len(time) // 2 :].mean() < 600.0


def test_fluctuation_falls_with_the_square_of_the_time_step(trained, tmp_path):
    """Forces that were not the gradient of the energy would leave a part that no time step makes smaller."""
    coarse, fine = (
        total_energies(trained, tmp_path / f"{factor}", factor * TIMESTEP, 600 // factor)[1] for factor in (4, 2)
    )
    assert 3.0 < (coarse - coarse[0]).std() / (fine - fine[0]).std() < 5.0
