"""Several ranks against one: work that is done in total, and speed. 4,096 silicon atoms. What a rank sends.

    OMP_NUM_THREADS=1 python benchmarks/ranks.py
    OMP_NUM_THREADS=1 python benchmarks/ranks.py --weak 8 27 64    # ranks, each with 64 atoms: messages and bytes
    python benchmarks/ranks.py --simulate                          # the same from the decomposition, up to 4,096

Work is counted, so it can be measured on a machine with fewer cores than ranks: edges and atoms that pass through the
layers, summed over ranks (`compute pair`), and rows that travel between ranks for each layer after the first. Speed is
of the whole step, of runs on one and on two ranks in turn. Wall time; on a shared machine the ranks also wait for
each other's interruptions, which the second column leaves out: the CPU time of the rank's own work on the pair style.

Messages, bytes and collectives are the pair style's own; what LAMMPS sends, positions and forces of ghosts, is not
counted. They are of a step at which the neighbour list is made, and of one that finds it as it was.
"""

import argparse
import os
import re
import statistics
import tempfile
from pathlib import Path

import numpy as np
import systems
from decomposition import Exchange, traffic_of
from lammps import DECK as DECK_OF_ONE
from timing import KEEP_MEMORY, environment

from mollifield_lammps import run_lammps, write_data

CELLS = 8
CELLS_OF_RANK = 2  # along each axis, of silicon: a rank's brick is wider than cutoff and skin
SKIN = 1.0  # Å, of the deck
STEPS = 20
COUNT = """
compute work all pair mollifield
thermo_style custom step c_work[*]
thermo_modify format float %.17g
run 0
"""


def deck(halo: str, commands: str) -> str:
    """The deck of `lammps.py` up to its runs."""
    text = DECK_OF_ONE.format(boundary="p p p", species="Si", steps=0, model="model.pt", driver=f"halo {halo}", fix="")
    return text.split("run 20")[0] + commands


def count(directory: Path) -> None:
    """Print the work of 8 ranks relative to that of one, in both modes."""
    reference: list[float] = []
    print(f"{'':<24}{'edges':>10}{'atoms':>10}{'rows':>10}{'edges / 1':>12}{'atoms / 1':>12}")
    for n_ranks, halo in [(1, "exchange"), (2, "exchange"), (8, "exchange"), (8, "ghost")]:
        thermo = run_lammps(deck(halo, COUNT), directory, n_ranks).thermo
        numbers = [float(thermo[f"c_work[{k}]"][0]) for k in (1, 2, 3)]
        reference = reference or numbers
        ratios = "".join(f"{numbers[k] / reference[k]:12.3f}" for k in (0, 1))
        print(f"{n_ranks} rank(s), {halo:<11}" + "".join(f"{int(n):10d}" for n in numbers) + ratios, flush=True)


def seconds(directory: Path, n_ranks: int, halo: str) -> tuple[float, float]:
    """Wall seconds of a step, and CPU seconds of the pair style in it."""
    log = run_lammps(deck(halo, f"run 5\nrun {STEPS}\n"), directory, n_ranks).log.read_text()
    last = log[log.rindex("Loop time of") :]
    loop = float(re.search(r"Loop time of ([\d.eE+-]+)", last)[1])
    pair = re.search(r"^Pair\s+\| ([\d.eE+-]+)\s*\|\s*([\d.eE+-]+)\s*\|\s*([\d.eE+-]+)", last, re.MULTILINE)
    share = float(re.search(r"([\d.eE+-]+)% CPU use", last)[1]) / 100.0
    return loop / STEPS, float(pair[2]) * share / STEPS


def speed(directory: Path, rounds: int) -> None:
    """Print milliseconds a step on one and on two ranks, and their ratio round by round."""
    cases = [(1, "exchange"), (2, "exchange"), (2, "ghost")]
    times: dict[tuple[int, str], list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            times[case].append(seconds(directory, *case))
    print(f"{'':<24}{'step, ms':>10}{'pair, ms':>10}{'speed-up':>10}{'of pair':>10}")
    for case in cases:
        middle = [1e3 * statistics.median(t[k] for t in times[case]) for k in (0, 1)]
        ratios = [
            statistics.median(a[k] / b[k] for a, b in zip(times[cases[0]], times[case], strict=True)) for k in (0, 1)
        ]
        print(f"{case[0]} rank(s), {case[1]:<11}" + "".join(f"{n:10.2f}" for n in [*middle, *ratios]), flush=True)


WEAK = """
processors {0} {0} {0}
read_data"""
TRAFFIC = """
compute work all pair mollifield
thermo 1
thermo_style custom step c_work[*]
thermo_modify format float %.17g
run 1
"""


def edge_of(n_ranks: int) -> int:
    """Ranks along each axis. Raises `ValueError` where it is no cube."""
    edge = round(n_ranks ** (1 / 3))
    if edge**3 != n_ranks:
        raise ValueError(f"{n_ranks} ranks; allowed here are cubes: 8, 27, 64, ...")
    return edge


def print_traffic(name: str, per_rank: list[float]) -> None:
    """Messages, bytes and collectives."""
    print(f"{name:<34}" + "".join(f"{value:14.1f}" for value in per_rank), flush=True)


def weak(directory: Path, numbers: list[int]) -> None:
    """Print what a rank sends, for so many ranks of the same size each."""
    print(f"{'per rank':<34}{'messages':>14}{'bytes':>14}{'collectives':>14}")
    for n_ranks in numbers:
        atoms = systems.silicon(CELLS_OF_RANK * edge_of(n_ranks))
        atoms.wrap()
        write_data(directory / "atoms.data", atoms, systems.SPECIES["silicon"])
        text = deck("exchange", TRAFFIC).replace("\nread_data", WEAK.format(edge_of(n_ranks)))
        thermo = run_lammps(text, directory, n_ranks).thermo
        for step, name in enumerate(("list made", "list as it was")):
            sent = [float(thermo[f"c_work[{k}]"][step]) / n_ranks for k in (4, 5, 6)]
            print_traffic(f"{n_ranks} ranks, {name}", sent)


def simulate(numbers: list[int], n_sampled: int = 64) -> None:
    """Print the same from the decomposition: means over some of the ranks, and over all of few."""
    row = systems.potential("silicon", "native").architecture.settings
    exchange = Exchange(row_bytes=((row.l_max + 1) ** 2 * row.n_channels * 4,))
    print(f"{'per rank, simulated':<34}{'messages':>14}{'bytes':>14}{'ranks met':>14}{'most bytes':>14}")
    for n_ranks in numbers:
        edge = edge_of(n_ranks)
        atoms = systems.silicon(CELLS_OF_RANK * edge)
        atoms.wrap()
        sampled = np.linspace(0, n_ranks - 1, min(n_ranks, n_sampled)).astype(int)
        found = [
            traffic_of(rank, atoms.positions, atoms.cell.lengths(), (edge,) * 3, systems.R_MAX, SKIN, exchange)
            for rank in sampled
        ]
        means = [statistics.mean(value) for value in zip(*((t.messages, t.bytes, t.n_met) for t in found), strict=True)]
        print_traffic(f"{n_ranks} ranks ({len(sampled)} of them)", [*means, max(t.bytes for t in found)])


def main() -> None:
    """Counts, then times; or what ranks send."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weak", type=int, nargs="+", metavar="RANKS", help="numbers of ranks, each a cube")
    parser.add_argument("--simulate", action="store_true", help="up to 4,096 ranks")
    options = parser.parse_args()
    if options.simulate:
        simulate([8, 27, 64, 512, 4096])
        return
    print(environment())
    os.environ.update(KEEP_MEMORY)  # for lmp
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        if options.weak:
            systems.write_model(directory / "model.pt", "silicon")
            weak(directory, options.weak)
            return
        write_data(directory / "atoms.data", systems.silicon(CELLS), systems.SPECIES["silicon"])
        systems.write_model(directory / "model.pt", "silicon")
        count(directory)
        if options.rounds:
            speed(directory, options.rounds)


if __name__ == "__main__":
    main()
