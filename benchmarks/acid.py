"""Make the acid of docs/accuracy.md: 3-hydroxypropanoic acid, labelled by GFN2-xTB, at 300, 600 and 1000 K.

    OMP_NUM_THREADS=1 python benchmarks/acid.py FOLDER [--only train 300 600 1000]

`train.xyz` has 450 frames of Langevin dynamics at 300 K; `test300.xyz`, `test600.xyz` and `test1000.xyz` 200 each, of
dynamics with other velocities; `isolated.xyz` the atoms by themselves. A quarter of an hour on one core; the sets of
several calls with `--only` are those of one. Its torsions are soft and one of its protons is acidic, so that hot frames
look little like the training's.
"""

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from tblite.ase import TBLite

from mollifield_train.oracle.dynamics import labelled, langevin, sampled, thermalised

MOLECULE = Atoms(
    "OC3O2H6",
    [
        [-1.651, 0.552, -0.947],
        [-1.010, -0.637, -0.494],
        [-0.020, -0.323, 0.612],
        [1.266, 0.200, 0.039],
        [1.921, -0.301, -0.859],
        [1.700, 1.311, 0.666],
        [-2.198, 0.895, -0.219],
        [-1.791, -1.310, -0.123],
        [-0.535, -1.116, -1.355],
        [0.227, -1.225, 1.181],
        [-0.439, 0.416, 1.303],
        [2.529, 1.539, 0.194],
    ],
)
"""HO-CH2-CH2-COOH, relaxed by a force field."""
TIMESTEP, DAMPING = 0.5, 100.0  # fs
STEPS_BEFORE, STEPS_BETWEEN = 4000, 100


def calculator() -> TBLite:
    """GFN2-xTB."""
    return TBLite(method="GFN2-xTB", verbosity=0)


def trajectory(temperature: float, n_frames: int, seed: int) -> list[Atoms]:
    """A frame every 50 fs, after 2 ps."""
    rng = np.random.default_rng(seed)
    relaxed = MOLECULE.copy()
    relaxed.calc = calculator()
    BFGS(relaxed, logfile=None).run(fmax=0.01)
    atoms = thermalised(relaxed, temperature, rng)
    atoms.calc = calculator()
    dynamics = langevin(atoms, temperature, TIMESTEP, DAMPING, rng)
    dynamics.run(STEPS_BEFORE)
    return sampled(dynamics, n_frames, STEPS_BETWEEN)


def isolated() -> list[Atoms]:
    """One atom of each species."""
    return [labelled(Atoms(symbol, calculator=calculator())) for symbol in sorted(set(MOLECULE.symbols))]


SETS = {"train": (300.0, 450, 1), "300": (300.0, 200, 2), "600": (600.0, 200, 3), "1000": (1000.0, 200, 4)}
"""Temperature (K), frames, seed."""


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    ase.io.write(arguments.folder / "isolated.xyz", isolated())
    for name in arguments.only:
        file = "train.xyz" if name == "train" else f"test{name}.xyz"
        ase.io.write(arguments.folder / file, trajectory(*SETS[name]))


if __name__ == "__main__":
    main()
