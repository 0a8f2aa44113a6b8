"""How many labels does a barrier take: asked for along the band, or drawn from dynamics?

    OMP_NUM_THREADS=1 python benchmarks/neb_learn.py runs/neb_learn

An adatom hops on Al(100) (nine atoms, effective medium theory). A committee of four knows 30 frames of dynamics at
300 K about the hollow site; `mollifield property neb --learn` asks for images of the band. Beside it, the same
committee is trained on equally many further frames, and on five times as many, of dynamics at 300 and at 900 K, where
the adatom hops by itself. The reference is the oracle's own band.
"""

import argparse
import json
import sys
from pathlib import Path

import ase.io
import numpy as np
import yaml
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from mollifield import MollifieldCalculator
from mollifield.properties import Barrier, Samples, samples_of
from mollifield_train.cli import main as mollifield
from mollifield_train.config import TrainConfig, validated
from mollifield_train.oracle.dynamics import langevin, sampled, thermalised
from mollifield_train.training.run import train

BAND = Barrier(n_images=5, fmax=0.05)
N_START, EVERY = 30, 20
LEARN = {"oracle": {"kind": "emt"}, "budget": 24, "batch": 4, "tolerance": 0.01, "warm": {"epochs": 100}}


def adatom() -> Atoms:
    slab = fcc100("Al", (2, 2, 2), vacuum=5.0)
    add_adsorbate(slab, "Al", 1.8, "hollow")
    slab.info.clear()
    slab.pbc = True
    slab.set_constraint(FixAtoms([atom.index for atom in slab if atom.tag == 2]))
    return slab


def ends() -> list[Atoms]:
    first, last = adatom(), adatom()
    last.positions[-1] += first.cell[0] / 2.0
    return [first, last]


def dynamics(n: int, temperature: float, seed: int) -> list[Atoms]:
    """Labelled frames, the lowest layer moving too."""
    rng = np.random.default_rng(seed)
    start = adatom()
    start.set_constraint()
    atoms = thermalised(start, temperature, rng)
    atoms.calc = EMT()
    return sampled(langevin(atoms, temperature, 2.0, 100.0, rng), n, EVERY)


def trained(folder: Path, frames: list[Atoms], epochs: int, initial: Path | None = None) -> Path:
    """The model file."""
    model = folder / "model.pt"
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        ase.io.write(folder / "train.xyz", frames, format="extxyz")
        values = {
            "directory": str(folder),
            "data": {"train": str(folder / "train.xyz"), "valid_fraction": 0.0},
            "model": {"preset": "fast", "r_max": 5.0},
            "optimiser": {"epochs": epochs, **({} if initial is None else {"learning_rate": 0.002})},
        }
        train(validated(TrainConfig, values, "benchmark"), initial=initial, progress=False)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=150)
    options = parser.parse_args()
    folder = options.folder
    reference = float(BAND.measure(Samples(EMT(), []), ends()).estimates["forward"].value)
    print(f"oracle: {reference:.4f} eV", flush=True)
    start = dynamics(N_START, 300.0, seed=0)
    model = trained(folder / "start", start, options.epochs)
    for name, atoms in zip(("first", "last"), ends(), strict=True):
        ase.io.write(folder / f"{name}.traj", atoms)
    (folder / "learn.yaml").write_text(yaml.safe_dump(LEARN))
    words = ["property", "neb", model, folder / "first.traj", folder / "last.traj", "-o", folder / "found"]
    words += ["--learn", folder / "learn.yaml", "--set", f"n_images={BAND.n_images}", f"fmax={BAND.fmax}"]
    if mollifield(list(map(str, words))):
        sys.exit(1)
    learnt = json.loads((folder / "found" / "neb.json").read_text())["learnt"]
    for one in learnt:
        print(f"learnt, {one['n_labels']:3} labels: {one['forward'] - reference:+.4f} ± {one['interval']:.4f} eV")
    most = learnt[-1]["n_labels"]
    for temperature in (300.0, 900.0):
        more = dynamics(5 * most, temperature, seed=1)
        for n in (most, len(more)):
            name = folder / f"dynamics-{temperature:g}-{n}"
            path = trained(name, start + more[:: len(more) // n][:n], options.epochs, initial=model)
            found = BAND.measure(samples_of(MollifieldCalculator(path)), ends()).estimates["forward"]
            error, half = float(found.value) - reference, float(np.max(found.interval))
            print(f"dynamics at {temperature:g} K, {n:3} labels: {error:+.4f} ± {half:.4f} eV", flush=True)


if __name__ == "__main__":
    main()
