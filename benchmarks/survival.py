"""Hot dynamics of a molecule in LAMMPS: in how many of some starts it stays whole, and for how long in the others.

    OMP_NUM_THREADS=1 python benchmarks/survival.py model.pt frames.xyz --temperature 600 1000 --ps 50

Langevin dynamics from frames of a file, evenly chosen (0.5 fs, friction time 50 fs; isolated molecules). A trajectory
is broken where a bond of its start is `TORN` times as long as it was there, or two atoms are nearer than `FUSED`. That
is looked for in frames 0.1 ps apart: a bond that opens and closes in between is not seen. A trajectory that LAMMPS ends
with an error (lost atoms) broke after its last frame. Printed are, of each, the time and the most that a bond of the
start was stretched while it was whole; and microseconds of CPU time for an atom and a step.
"""

import argparse
import resource
import tempfile
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from surface import bonds

from mollifield_lammps import Deck, LammpsError, Langevin, lammps_boundary, read_dump, run_lammps, write_data

TORN = 1.6
FUSED = 0.6
"""Å."""
FRAME_PS, TIMESTEP, FRICTION = 0.1, 0.5, 50.0


class Trajectory(NamedTuple):
    """What became of one."""

    whole_ps: float
    broken: bool
    stretched: float
    """The longest bond in frames before it broke, over its length at the start."""


def judged(frames: list[Atoms], steps: int) -> Trajectory:
    """Of frames `FRAME_PS` apart, the first of them the start; `steps`: how many come after it if nothing breaks."""
    lengths = np.array([frame.get_all_distances() for frame in frames])
    first, second = bonds(frames[0]).T
    stretched = np.max(lengths[:, first, second] / lengths[0, first, second], axis=1)
    first, second = np.triu_indices(len(frames[0]), 1)
    whole = (stretched < TORN) & (lengths[:, first, second].min(axis=1) > FUSED)
    n_whole = len(frames) if whole.all() else int(np.argmin(whole))
    return Trajectory((n_whole - 1) * FRAME_PS, n_whole <= steps, float(stretched[:n_whole].max()))


def run(model: Path, start: Atoms, temperature: float, ps: float, seed: int) -> Trajectory:
    """One trajectory in a folder that is gone afterwards."""
    species, every = sorted(set(start.get_chemical_symbols())), round(1e3 * FRAME_PS / TIMESTEP)
    steps = round(ps / FRAME_PS)
    with tempfile.TemporaryDirectory() as folder:
        rotation = write_data(Path(folder) / "atoms.data", start, species)
        deck = Deck(
            model=model.resolve(),
            species=species,
            boundary=lammps_boundary(start),
            dynamics=Langevin(temperature, damping=FRICTION),
            n_steps=steps * every,
            timestep=TIMESTEP,
            initial_temperature=temperature,
            seed=seed,
            thermo_every=every,
            dump_every=every,
        )
        dump = Path(folder) / deck.dump
        try:
            run_lammps(deck.text(), folder)
        except LammpsError:
            if not dump.exists():
                raise
        return judged(read_dump(dump, rotation), steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("frames")
    parser.add_argument("--temperature", type=float, nargs="+", default=[600.0], help="K")
    parser.add_argument("--ps", type=float, default=50.0)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    frames = ase.io.read(options.frames, ":")
    chosen = [frames[k] for k in np.linspace(0, len(frames) - 1, options.starts).astype(int)]
    for temperature in options.temperature:
        found = []
        for k, start in enumerate(chosen):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            trajectory = run(options.model, start, temperature, options.ps, options.seed + k)
            spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
            found.append(trajectory)
            cost = 1e6 * spent / (len(start) * max(trajectory.whole_ps, FRAME_PS) * 1e3 / TIMESTEP)
            what = "broken after" if trajectory.broken else "whole for"
            print(
                f"{temperature:g} K, start {k}: {what} {trajectory.whole_ps:.1f} ps, bonds at most "
                f"{trajectory.stretched:.2f} times as long" + ("" if trajectory.broken else f", {cost:.0f} µs/atom"),
                flush=True,
            )
        print(f"{temperature:g} K: {sum(not each.broken for each in found)} of {len(found)} whole", flush=True)


if __name__ == "__main__":
    main()
