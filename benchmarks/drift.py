"""Drift of the total energy in NVE runs of `lmp`: silicon (64 atoms) and ethanol, trained models.

    OMP_NUM_THREADS=1 python benchmarks/drift.py --silicon Si_train.extxyz --ethanol train.xyz

Both files are extended xyz with energies and forces. One model a system and preset is trained in float32 on the first
frames, and written in both precisions, so that the four runs of 20,000 steps differ in rounding alone. Drift is the
slope of a straight line through the total energy, its uncertainty from 20 blocks (the residuals of neighbouring
samples are not independent); the fluctuation is what is left after the line, root mean square.

With `--directory` the trained members stay there and are used again.
"""

import argparse
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import systems
import torch
from ase import Atoms
from timing import environment

from mollifield_lammps import lammps_boundary, run_lammps, write_data
from mollifield_train.config import TrainConfig
from mollifield_train.export import export
from mollifield_train.model.presets import PRESETS
from mollifield_train.model.protocol import Potential
from mollifield_train.model.samples import member_state, rebuilt
from mollifield_train.training.members import load_members
from mollifield_train.training.run import train


@dataclass(frozen=True)
class Case:
    """What is trained, and how it is run."""

    n_atoms: int  # frames of another size are left out
    n_frames: int
    epochs: int
    timestep: float  # fs
    temperature: float  # K; twice the mean of the run where the start is a minimum


CASES = {
    "silicon": Case(n_atoms=64, n_frames=120, epochs=40, timestep=1.0, temperature=600.0),
    "ethanol": Case(n_atoms=9, n_frames=300, epochs=100, timestep=0.5, temperature=300.0),
}

DECK = """
units metal
boundary {boundary}
atom_style atomic
atom_modify map yes
read_data atoms.data
pair_style mollifield
pair_coeff * * {model} {species}
velocity all create {temperature} 4928 mom yes rot {rotation}
timestep {timestep}
fix nve all nve
thermo {every}
thermo_style custom step temp pe etotal
thermo_modify format float %.17g
run {steps}
"""


@dataclass(frozen=True)
class Drift:
    """Of the total energy of an atom."""

    slope: float  # eV/atom/ps
    slope_error: float
    fluctuation: float  # eV/atom
    temperature: float  # K


def drift_of(thermo: dict[str, np.ndarray], n_atoms: int, timestep: float, n_blocks: int = 20) -> Drift:
    """A straight line through the energies of a thermo table; `timestep` in fs."""
    time = thermo["Step"] * timestep * 1e-3
    energies = thermo["TotEng"] / n_atoms
    line = np.polyfit(time, energies, 1)
    residual = energies - np.polyval(line, time)
    blocks = np.array([part.mean() for part in np.array_split(residual, n_blocks)])
    error = blocks.std(ddof=2) / (np.sqrt(n_blocks) * time.std())
    return Drift(line[0], error, residual.std(), thermo["Temp"][len(time) // 10 :].mean())


def trained(system: str, preset: str, frames: list[Atoms], directory: Path) -> Potential:
    """The model of `system` with the architecture of `preset`, from `directory` where it was trained before."""
    case = CASES[system]
    run = directory / f"{system}-{preset}"
    if not (run / "members.pt").is_file():
        source = directory / f"{system}.extxyz"
        ase.io.write(source, frames)
        config = TrainConfig.model_validate(
            {
                "seed": 1,
                "directory": str(run),
                "data": {"train": str(source)},
                "model": preset,
                "loss": {"mollifier": None},
                "committee": {"n_members": 1},
                "optimiser": {"epochs": case.epochs},
            }
        )
        result = train(config, progress=sys.stderr.isatty())
        errors = result.metrics["valid"]
        print(
            f"{system}, {preset}: {len(frames)} frames, validation RMSE "
            f"{errors['energy_rmse_mev_per_atom']:.2f} meV/atom, {errors['forces_rmse_mev_per_A']:.1f} meV/Å",
            flush=True,
        )
    return load_members(run)


def in_precision(model: Potential, dtype: torch.dtype) -> Potential:
    """The same weights in another floating-point type."""
    return rebuilt(model, member_state(model), dtype=dtype)


def measure(system: str, preset: str, file: Path, directory: Path, steps: int) -> None:
    """Print one line for each precision."""
    case = CASES[system]
    frames = [a for a in ase.io.read(file, index=":") if len(a) == case.n_atoms][: case.n_frames]
    model = trained(system, preset, frames, directory)
    start = systems.silicon(2) if system == "silicon" else frames[0]
    for name in ("float32", "float64"):
        folder = directory / f"{system}-{preset}-{name}"
        folder.mkdir(exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e3nn and torch warn of TorchScript
            export(in_precision(model, getattr(torch, name)), folder / "model.pt", frames[:1])
        write_data(folder / "atoms.data", start, model.species)
        deck = DECK.format(
            boundary=lammps_boundary(start),
            model="model.pt",
            species=" ".join(model.species),
            temperature=case.temperature,
            rotation="no" if start.pbc.any() else "yes",
            timestep=case.timestep * 1e-3,
            every=max(1, steps // 1000),
            steps=steps,
        )
        found = drift_of(run_lammps(deck, folder).thermo, len(start), case.timestep)
        print(
            f"{system:<9}{preset:<9}{len(start):4d} atoms  {name}  {case.timestep} fs x {steps}  "
            f"drift {found.slope:+.1e} ± {found.slope_error:.0e} eV/atom/ps  "
            f"fluctuation {found.fluctuation:.1e} eV/atom  mean {found.temperature:.0f} K",
            flush=True,
        )


def main() -> None:
    """The systems that a file was given for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for system in CASES:
        parser.add_argument(f"--{system}", type=Path, help=f"training frames of {system}")
    parser.add_argument("--directory", type=Path, help="keeps the trained models; default: a temporary folder")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["balanced"])
    parser.add_argument("--steps", type=int, default=20000)
    options = parser.parse_args()
    print(environment())
    with tempfile.TemporaryDirectory() as scratch:
        directory = options.directory or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        for system in CASES:
            file = getattr(options, system)
            for preset in options.presets if file is not None else ():
                measure(system, preset, file, directory.resolve(), options.steps)


if __name__ == "__main__":
    main()
