"""Make the frames that the demo starts from: ethanol at 300 K, labelled by GFN2-xTB.

    python examples/ethanol/make_frames.py

Langevin dynamics with tblite itself, from ASE's geometry of the molecule; a frame every 100 fs after
2 ps. The result, `frames.extxyz`, is committed, so the demo doesn't need this script.
"""

from pathlib import Path

import ase.io
import numpy as np
from ase.build import molecule
from tblite.ase import TBLite

from mollifield_train.oracle.dynamics import langevin, sampled, thermalised

N_FRAMES = 20
TEMPERATURE = 300.0  # K
TIMESTEP = 0.5  # fs
DAMPING = 100.0  # fs
STEPS_BEFORE = 4000
STEPS_BETWEEN = 200
SEED = 1


def main() -> None:
    """Run the dynamics and write `frames.extxyz` beside this script."""
    rng = np.random.default_rng(SEED)
    atoms = thermalised(molecule("CH3CH2OH"), TEMPERATURE, rng)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    dynamics = langevin(atoms, TEMPERATURE, TIMESTEP, DAMPING, rng)
    dynamics.run(STEPS_BEFORE)
    frames = sampled(dynamics, N_FRAMES, STEPS_BETWEEN)
    ase.io.write(Path(__file__).parent / "frames.extxyz", frames)


if __name__ == "__main__":
    main()
