"""Make the frames of this example: the unit cell that the loop starts from, and 24 that its models are judged by.

    python examples/silicon/make_frames.py

The latter are ends of Stillinger-Weber dynamics of 0.8 ps (matscipy) at 300, 600 and 900 K, each in a cell strained at
random by up to 3%. None has labels: the oracle makes them. Both files are committed, so the example doesn't need it.
"""

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si

HERE = Path(__file__).parent
START = 5.5  # Å, the lattice constant of the start
N_FRAMES = 24
TEMPERATURES = (300.0, 600.0, 900.0)  # K
STRAIN = 0.03
N_STEPS = 400
TIMESTEP = 2.0  # fs
SEED = 7


def end_of_dynamics(temperature: float, rng: np.random.Generator) -> Atoms:
    """One frame in a strained cell."""
    atoms = bulk("Si", cubic=True, a=5.431)
    strain = rng.uniform(-STRAIN, STRAIN, (3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.calc = Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=rng)
    Langevin(atoms, TIMESTEP * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng).run(N_STEPS)
    frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    frame.info["T"] = temperature
    return frame


def main() -> None:
    """Write `start.extxyz` and `test.extxyz` beside this script."""
    rng = np.random.default_rng(SEED)
    frames = [end_of_dynamics(TEMPERATURES[k % len(TEMPERATURES)], rng) for k in range(N_FRAMES)]
    ase.io.write(HERE / "start.extxyz", bulk("Si", cubic=True, a=START))
    ase.io.write(HERE / "test.extxyz", frames)


if __name__ == "__main__":
    main()
