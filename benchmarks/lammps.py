"""LAMMPS against bare evaluation: pair time in `lmp`, a step, and a step of a committee driven by one member.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/lammps.py [--nequip-python VENV/bin/python]

Runs of `lmp` and of the Python engine on the starting frame alternate. Pair time is LAMMPS's own timing
breakdown, which is wall time; it is multiplied by the share of the CPU that LAMMPS says it had. The bare
evaluation has its edges given, while the pair style also makes them from the neighbour list. It runs the
module as the C++ engine does, without TorchScript's profiling mode. Memory freed is kept on both sides. The
committee's fix asks all four members every 10 steps. NequIP, installed as inference.py says, takes turns with them on
silicon: its bare evaluation, with edges given, in Python.

The model is untrained, and real time steps would blow the atoms apart: a time step of 1e-7 ps keeps the frame, and
the neighbour list is rebuilt every 10 steps all the same.
"""

import os
import re
import statistics
import tempfile
from functools import partial
from pathlib import Path

import systems
import torch
from ase import Atoms
from timing import KEEP_MEMORY, Run, add_peers, environment, keep_memory, local, peer_parser

from mollifield.potential import evaluate_edges
from mollifield_lammps import lammps_boundary, run_lammps, write_data

STEPS = {"silicon": 60, "ethanol": 2000}

DECK = """
units metal
boundary {boundary}
atom_style atomic
atom_modify map yes
read_data atoms.data
pair_style mollifield {driver}
pair_coeff * * {model} {species}
neighbor 1.0 bin
neigh_modify every 10 delay 0 check no
velocity all create 300 1
timestep 1e-7
fix nve all nve
{fix}
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


# Model file, driver, fix.
CASES = {
    "single": ("single.pt", "", ""),
    "committee": ("committee.pt", "driver member 0", "fix u all mollifield/uncertainty 10"),
}


NEQUIP = "NequIP AOTInductor"


def measure(system: str, atoms: Atoms, rounds: int, nequip: str | None = None) -> None:
    """Print one system's table; `nequip`: the interpreter of its environment."""
    steps, species = STEPS[system], systems.SPECIES[system]
    bare_run = local(partial(evaluate_edges, systems.artefact(system), *systems.edges(atoms, system)))
    bare_run(5)
    names = ["bare evaluation", "pair in lmp", "step in lmp", "4 members, driven by one"]
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write_data(directory / "atoms.data", atoms, species)
        systems.write_model(directory / "single.pt", system)
        systems.write_model(directory / "committee.pt", system, n_members=4)
        systems.write_frames(directory / "frames.extxyz", systems.labelled([atoms]))
        others: dict[str, Run] = {}
        peers = add_peers(others, [(NEQUIP, nequip, "peer_nequip.py")], ["inference", str(directory / "frames.extxyz")])
        times |= {name: [] for name in others}
        for _ in range(rounds):
            found = []
            before = bare_run(steps) / steps
            for model, driver, fix in CASES.values():
                deck = DECK.format(
                    boundary=lammps_boundary(atoms),
                    species=" ".join(species),
                    steps=steps,
                    model=model,
                    driver=driver,
                    fix=fix,
                )
                found += [t / steps for t in seconds_of(run_lammps(deck, directory).log.read_text())]
            bare = 0.5 * (before + bare_run(steps) / steps)
            for name, value in zip(names, [bare, found[0], found[1], found[3]], strict=True):
                times[name].append(value)
            for name, run in others.items():
                times[name].append(run(steps) / steps)
        for peer in peers:
            peer.close()
    print(f"{system}, {len(atoms)} atoms, {steps} steps, {rounds} rounds")
    print(f"  {'':<26}{'ms':>9}{'µs/atom':>10}{'/ bare':>9}{'/ pair':>9}{'/ step':>9}")
    for name, values in times.items():
        middle = statistics.median(values)
        ratios = [
            statistics.median(a / b for a, b in zip(values, times[other], strict=True))
            for other in ("bare evaluation", "pair in lmp", "step in lmp")
        ]
        print(
            f"  {name:<26}{1e3 * middle:9.4f}{1e6 * middle / len(atoms):10.2f}"
            + "".join(f"{ratio:9.3f}" for ratio in ratios),
            flush=True,
        )


def main() -> None:
    """Silicon, then ethanol."""
    options = peer_parser(__doc__.split("\n")[0], rounds=7, peers=["nequip"]).parse_args()
    print(environment())
    keep_memory()
    os.environ.update(KEEP_MEMORY)  # for lmp
    torch._C._jit_set_profiling_mode(False)
    measure("silicon", systems.silicon(3), options.rounds, options.nequip_python)
    measure("ethanol", systems.ethanol(), options.rounds)


if __name__ == "__main__":
    main()
