"""Dynamics on a trained model: copper, learned from a few frames of an effective-medium potential."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mollifield_lammps import run_lammps, write_data
from mollifield_train.config import TrainConfig
from mollifield_train.export import export
from mollifield_train.fit import train

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
thermo 20
thermo_style custom step temp pe etotal
thermo_modify format float %.17g
run 1000
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
            "seed": 1, "dtype": "float64", "directory": str(folder / "run"),
            "data": {"train": str(folder / "train.xyz"), "valid_fraction": 0.1},
            "model": {"l_max": 1, "n_channels": 8, "n_radial": 6, "radial_hidden": [16], "r_max": 4.0},
            "committee": {"n_members": 1},
            "optimiser": {"learning_rate": 0.02, "batch_size": 2, "epochs": 20},
        }
    )  # fmt: skip
    result = train(config, progress=False)
    export(result.model, folder / "model.pt", frames[:1])
    return folder / "model.pt"


def test_energy_is_conserved(trained, tmp_path):
    """NVE at 0.5 fs for 0.5 ps, from 600 K: drift below 1e-4 eV/atom/ps."""
    atoms = copper(0.0, 0)
    write_data(tmp_path / "atoms.data", atoms, ["Cu"])
    text = DECK.format(model=trained, timestep=TIMESTEP)
    thermo = run_lammps(text, tmp_path).thermo
    time = thermo["Step"] * TIMESTEP
    energies = thermo["TotEng"] / len(atoms)
    assert time[-1] == 0.5
    drift = np.polyfit(time, energies, 1)[0]
    assert abs(drift) < 1e-4
    # The total is constant to far less than what its two parts exchange, and the crystal stays one.
    assert np.std(energies) < 0.01 * np.std(thermo["PotEng"] / len(atoms))
    assert 150.0 < thermo["Temp"][len(time) // 2 :].mean() < 600.0
