"""LAMMPS against bare evaluation: pair time in `lmp` for silicon, and milliseconds a step for ethanol.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/lammps.py

Runs of `lmp` and of the Python engine on the starting frame alternate. Pair time is LAMMPS's own timing
breakdown, which is wall time; it is multiplied by the share of the CPU that LAMMPS says it had. The bare
evaluation has its edges given, while the pair style also makes them from the neighbour list. It runs the
module as the C++ engine does, without TorchScript's profiling mode. Memory freed is kept on both sides.

The model is untrained, and real time steps would blow the atoms apart: a time step of 1e-7 ps keeps the frame, and
the neighbour list is rebuilt every 10 steps all the same.
"""

import argparse
import os
import re
import statistics
import tempfile
from functools import partial
from pathlib import Path

import torch
from ase import Atoms
from mollifield.potential import evaluate_edges
from mollifield_lammps import lammps_boundary, run_lammps, write_data

from timing import KEEP_MEMORY, environment, keep_memory, local
import systems

STEPS = {"silicon": 60, "ethanol": 2000}

DECK = """
units metal
boundary {boundary}
atom_style atomic
atom_modify map yes
read_data atoms.data
pair_style mollifield
pair_coeff * * model.pt {species}
neighbor 1.0 bin
neigh_modify every 10 delay 0 check no
velocity all create 300 1
timestep 1e-7
fix nve all nve
thermo 1000
run 20
run {steps}
"""


def seconds_of(log: str) -> tuple[float, float]:
    """Pair and loop CPU seconds of the last run in a log of LAMMPS."""
    number = r"([\d.eE+-]+)"
    last = log[log.rindex("Loop time of") :]
    loop = float(re.search(rf"Loop time of {number}", last)[1])
    pair = float(re.search(rf"^Pair\s+\| {number}", last, re.MULTILINE)[1])
    share = float(re.search(rf"{number}% CPU use", last)[1]) / 100.0
    return pair * share, loop * share


def measure(system: str, atoms: Atoms, rounds: int) -> None:
    """Print one system's table."""
    steps = STEPS[system]
    model = systems.artefact(system)
    bare_run = local(partial(evaluate_edges, model, *systems.edges(atoms, system)))
    bare_run(5)
    pairs, loops, bares = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write_data(directory / "atoms.data", atoms, systems.SPECIES[system])
        systems.write_model(directory / "model.pt", system)
        deck = DECK.format(
            boundary=lammps_boundary(atoms), species=" ".join(systems.SPECIES[system]), steps=steps
        )
        for _ in range(rounds):
            bare = bare_run(steps) / steps
            log = run_lammps(deck, directory).log.read_text()
            bare = 0.5 * (bare + bare_run(steps) / steps)
            pair, loop = seconds_of(log)
            pairs.append(pair / steps)
            loops.append(loop / steps)
            bares.append(bare)
    print(f"{system}, {len(atoms)} atoms, {steps} steps, {rounds} rounds")
    for name, values in [("bare evaluation", bares), ("pair in lmp", pairs), ("step in lmp", loops)]:
        middle = statistics.median(values)
        ratio = statistics.median(a / b for a, b in zip(values, bares, strict=True))
        print(
            f"  {name:<18}{1e3 * middle:9.4f} ms{1e6 * middle / len(atoms):9.2f} µs/atom"
            f"{ratio:8.3f} of bare",
            flush=True,
        )


def main() -> None:
    """Silicon, then ethanol."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(environment())
    keep_memory()
    os.environ.update(KEEP_MEMORY)  # for lmp
    torch._C._jit_set_profiling_mode(False)
    measure("silicon", systems.silicon(3), options.rounds)
    measure("ethanol", systems.ethanol(), options.rounds)


if __name__ == "__main__":
    main()
