"""Memory and time of one force computation in LAMMPS against size, the committee of 4 asked: 13,824 to 1,000,000 atoms.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/million.py
    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/million.py --cells 50      # the largest alone; takes minutes

Silicon, splines, float32. Each size has an `lmp` of its own, which makes the atoms and computes forces and stds once.
Memory is the largest resident size of that process, all of LAMMPS included; time is its CPU time, less that of one with
64 atoms, which starts and loads the same. `whole`: without chunks, where that is asked for by `--whole`.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import systems
from timing import environment

from mollifield_lammps import run_lammps

CELLS = (12, 24, 50)
WHOLE = 2**31 - 1

DECK = """
units metal
atom_modify map yes
lattice diamond 5.431
region box block 0 {cells} 0 {cells} 0 {cells}
create_box 1 box
create_atoms 1 box
displace_atoms all random 0.05 0.05 0.05 4711
mass 1 28.0855
pair_style mollifield chunk {chunk}
pair_coeff * * {model} Si
neighbor 1.0 bin
velocity all create 300 1
fix nve all nve
fix u all mollifield/uncertainty 1
thermo_style custom step pe f_u f_u[2]
thermo_modify format float %.12g
run 0
"""


def compute_once(model: str, cells: int, chunk: int) -> None:
    """In the fresh process: print CPU seconds, the largest resident size in bytes, energy and largest std."""
    with tempfile.TemporaryDirectory() as folder:
        run = run_lammps(DECK.format(cells=cells, model=model, chunk=chunk), Path(folder))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        thermo = {name: column[0] for name, column in run.thermo.items()}
        print(used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss, thermo["PotEng"], thermo["f_u"])


def answer(model: Path, cells: int, chunk: int) -> list[float]:
    """What `compute_once` prints."""
    command = [sys.executable, __file__, "--once", str(model), "--cells", str(cells), "--chunk", str(chunk)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(word) for word in out.split()]


def main() -> None:
    """One line a size and chunk."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS, help="unit cells along each axis")
    parser.add_argument("--chunk", type=int, nargs="+", default=[2**16], help="edges at a time")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        compute_once(options.once, options.cells[0], options.chunk[0])
        return
    print(environment())
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.pt"
        systems.write_model(model, "silicon", n_members=4)
        nothing = answer(model, 2, WHOLE)
        print(f"64 atoms: {nothing[0]:.1f} s, {nothing[1] / 2**20:.0f} MiB")
        for cells in options.cells:
            for chunk in [*options.chunk, *([WHOLE] if options.whole else [])]:
                cpu, memory, energy, std = answer(model, cells, chunk)
                n_atoms = 8 * cells**3
                name = "whole" if chunk == WHOLE else f"chunks of {chunk}"
                print(
                    f"{n_atoms:>9} atoms, {name:<18}{1e6 * (cpu - nothing[0]) / n_atoms:9.1f} µs/atom"
                    f"{memory / 1e6:10.0f} MB   energy {energy / n_atoms:.9f} eV/atom, largest std {std:.6g}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
