"""Every bar for a GPU, in one run that may be interrupted: measured, compared, written as tables.

    python benchmarks/gpu.py [--device cuda] [--folder gpu-results] [--pieces inference committee ...]

Each piece takes less than five minutes on one H200 and leaves a file in the folder; started again, the script goes on
with those that are missing. It prints each piece and the bars, and writes `tables.md` for docs/performance.md, with the
bytes that operators move as counted, in percent of what the card copies. What cannot be measured (no LAMMPS, no NequIP)
is said. Without a GPU it ends with exit code 2. `--device cpu --tiny` tries the script itself: its numbers say nothing.

LAMMPS and NequIP (`--nequip-python`, see inference.py) are optional.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from gpu_pieces import PIECES, Bench, Numbers
from timing import environment

from mollifield.devices import choose_device, describe_devices

Results = dict[str, Numbers]

Bar = tuple[str, str, Callable[[Results], float], Callable[[float], bool]]
BARS: list[Bar] = [
    ("silicon, 13,824 atoms, µs/atom", "at most 1.0", lambda r: r["inference"]["native"], lambda v: v <= 1.0),
    ("our e3nn path / native", "at least 5", lambda r: r["inference"]["e3nn / native"], lambda v: v >= 5.0),
    ("NequIP / native", "at least 5", lambda r: r["inference"]["NequIP / native"], lambda v: v >= 5.0),
    ("committee of 4, mean forces / one", "at most 3", lambda r: r["committee"]["mean forces"], lambda v: v <= 3.0),
    ("training step, e3nn / native", "at least 5", lambda r: r["training"]["e3nn / native"], lambda v: v >= 5.0),
    ("atoms on the card at once", "a million", lambda r: r["million"]["atoms"], lambda v: v >= 1e6),
    ("LAMMPS, step / bare evaluation", "at most 1.3", lambda r: r["lammps"]["step / bare"], lambda v: v <= 1.3),
    ("float64, from the CPU / 1e-10", "at most 1", lambda r: r["agreement"]["float64 / tolerance"], lambda v: v <= 1.0),
    ("float32, over the tolerance", "at most 1", lambda r: r["agreement"]["float32 / tolerance"], lambda v: v <= 1.0),
    (
        "float64, drift / that of the CPU",
        "as on the CPU",
        lambda r: r["agreement"]["float64, drift there"] / r["agreement"]["float64, drift"],
        lambda v: v <= 1.1,
    ),
]


def main() -> None:
    """Measure what is missing, then print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, default=Path("gpu-results"))
    parser.add_argument("--pieces", nargs="+", choices=list(PIECES), default=list(PIECES))
    parser.add_argument("--tiny", action="store_true", help="systems of a few atoms, to try the script")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--nequip-python", help="python of an environment with nequip")
    options = parser.parse_args()
    try:
        choose_device(options.device)
    except ValueError as error:
        print(f"{error}\nwithout a GPU nothing is measured", file=sys.stderr)
        raise SystemExit(2) from None
    machine = "\n".join([environment(), *(f"{name:<12}{text}" for name, text in describe_devices().items())])
    print(machine, flush=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.device, options.tiny, options.rounds, options.nequip_python)
    for name in options.pieces:
        measure(name, bench, options.folder)
    results = {name: json.loads(file.read_text()) for name in PIECES if (file := place(options.folder, name)).exists()}
    if options.tiny:
        machine = "tiny systems, to try the script: these numbers say nothing\n" + machine
    text = "\n\n".join([machine, bars(results), rooflines(results), details(results)]) + "\n"
    print(text)
    (options.folder / "tables.md").write_text(text)


def place(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def measure(name: str, bench: Bench, folder: Path) -> None:
    """One piece, unless it is there; one that fails is told and left for the next start."""
    if place(folder, name).exists():
        print(f"{name}: measured before")
        return
    start = time.perf_counter()
    try:
        found = PIECES[name](bench)
    except Exception:  # no LAMMPS here, no memory left: the others are measured all the same
        print(f"{name}: not measured\n{traceback.format_exc(limit=-2)}", flush=True)
        return
    finally:
        if bench.is_gpu:
            torch.cuda.empty_cache()
    place(folder, name).write_text(json.dumps(found, indent=1))
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def bars(results: Results) -> str:
    """A table: what was measured, and whether it is enough."""
    lines = ["| | bar | measured | |", "|---|---|---|---|"]
    for what, bar, value_of, is_met in BARS:
        try:
            value = value_of(results)
        except KeyError:
            lines.append(f"| {what} | {bar} | | not measured |")
            continue
        lines.append(f"| {what} | {bar} | {value:.3g} | {'met' if is_met(value) else 'missed'} |")
    return "\n".join(lines)


def rooflines(results: Results) -> str:
    """A table of operators: time, bytes as counted, percent of the card's copy rate."""
    if "roofline" not in results or "rates" not in results:
        return "roofline: not measured"
    copy, found = results["rates"]["copy"], results["roofline"]
    lines = [
        f"Copying moves {1e-9 * copy:.0f} GB/s, read and written.",
        "",
        "| | µs/atom | kB/atom | % of copy |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(key.split(":")[0] for key in found):
        time_, size, rate = (found[f"{name}: {unit}"] for unit in ("µs/atom", "kB/atom", "bytes/s"))
        lines.append(f"| {name} | {time_:.3g} | {size:.3g} | {100 * rate / copy:.0f} |")
    return "\n".join(lines)


def details(results: Results) -> str:
    """All numbers of the other pieces."""
    shown = {name: found for name, found in results.items() if name != "roofline"}
    return "\n\n".join(
        "\n".join([f"{name}:", *(f"  {key:<64}{value:.4g}" for key, value in found.items())])
        for name, found in shown.items()
    )


if __name__ == "__main__":
    main()
