"""Cost per atom and memory per edge against size: silicon, 216 to 13,824 atoms, splines, float32.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/scaling.py

Neighbour lists are made beforehand. Memory: a fresh process for each size evaluates once and tells by how much
its peak resident size grew since just before, with model and inputs loaded, a small frame evaluated and
free memory given back to the system. The e3nn path stops at 1,728 atoms: it needs gigabytes beyond. Linux with glibc.
"""

import argparse
import ctypes
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import systems
from timing import compare, environment, local, ratio, report

from mollifield import load_artefact
from mollifield.potential import evaluate_edges

CELLS = (3, 6, 9, 12)
BACKENDS = {
    "native, splines": ("native", True, CELLS),
    "native": ("native", False, CELLS),
    "e3nn": ("e3nn", False, CELLS[:2]),
}


def resident_bytes() -> int:
    """Of this process, now."""
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * resource.getpagesize()


def peak_growth(path: str, cells: int) -> None:
    """In the fresh process: print peak growth in bytes and the number of edges."""
    environment()
    model = load_artefact(path, verify=False)
    small = systems.edges(systems.silicon(2), "silicon")
    frame = systems.edges(systems.silicon(cells), "silicon")
    for _ in range(3):  # TorchScript specialises in its first calls
        evaluate_edges(model, *small)
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # or memory that is free already would hide the growth
    before = resident_bytes()
    reset_peak()
    evaluate_edges(model, *frame)
    print(peak_bytes() - before, frame[1].shape[1])


def reset_peak() -> None:
    """Linux: the high-water mark becomes the present size."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Largest resident size since `reset_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status: peak memory is measured on Linux only")


def memory() -> None:
    """Print bytes per edge, and between one size and the next."""
    print("memory at inference, peak growth")
    with tempfile.TemporaryDirectory() as folder:
        for name, (backend, splines, sizes) in BACKENDS.items():
            path = Path(folder) / "model.pt"
            systems.write_model(path, "silicon", backend, splines=splines)
            report_memory(name, path, sizes)


def report_memory(name: str, path: Path, sizes: tuple[int, ...]) -> None:
    """One line a size."""
    last = (0, 0)
    for cells in sizes:
        command = [sys.executable, __file__, "--peak", str(path), "--cells", str(cells)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        n_bytes, n_edges = map(int, out.split())
        slope = (n_bytes - last[0]) / (n_edges - last[1])
        last = (n_bytes, n_edges)
        print(
            f"{name:<20}{8 * cells**3:>7} atoms{n_edges:>8} edges{n_bytes / 2**20:>9.1f} MiB"
            f"{n_bytes / n_edges:>8.0f} bytes/edge; {slope:.0f} for each more",
            flush=True,
        )


def main() -> None:
    """Print the time table, then the memory table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--cells", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        peak_growth(options.peak, options.cells)
        return

    print(environment())
    model = systems.artefact("silicon")
    cases = {}
    for cells in CELLS:
        frame = systems.edges(systems.silicon(cells), "silicon")
        run, n_atoms = local(partial(evaluate_edges, model, *frame)), 8 * cells**3
        cases[f"{n_atoms} atoms"] = lambda n, run=run, n_atoms=n_atoms: run(n) / n_atoms
    # Seconds an atom: repeat until a call of the smallest size has filled its share.
    times = compare(cases, options.rounds, seconds=0.3 / 216)
    smallest = "216 atoms"
    report(times, 1e6, "µs/atom", [smallest])
    spread = [ratio(times, name, smallest) for name in times]
    print(f"largest / smallest cost per atom: {max(spread) / min(spread):.3f}")
    memory()


if __name__ == "__main__":
    main()
