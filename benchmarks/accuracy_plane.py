"""The plane of error and cost, from a study that accuracy.py has trained.

    python benchmarks/accuracy_plane.py study.yaml silicon given plane.png

One point for each column of the study: CPU microseconds an atom (of the set's `cost` frame) against the force RMSE on
one of its tests, means over seeds. Lower and further left is better.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from accuracy import QUANTITIES, Piece, Study, at, read_study
from matplotlib import pyplot as plt
from matplotlib.ticker import ScalarFormatter


def points(study: Study, data: str, test: str) -> dict[str, tuple[float, float]]:
    """(µs/atom, meV/Å) of the columns that have both."""
    found = {}
    for column in study.columns(data):
        errors = [e for seed in study.seeds_of(column) if (e := Piece(data, column, seed).errors(study)) is not None]
        costs = [at(e, ("us_per_atom",)) for e in errors]
        forces = [at(e, ("tests", test, QUANTITIES["forces"])) for e in errors]
        if errors and None not in costs + forces:
            found[column] = (float(np.mean(costs)), float(np.mean(forces)))
    return found


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="YAML file")
    parser.add_argument("set", help="of the study, with a `cost` frame")
    parser.add_argument("test", help="of the set")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    options = parser.parse_args()
    study = read_study(options.study)
    figure, axes = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    for column, (cost, error) in points(study, options.set, options.test).items():
        own = column in study.variants
        axes.plot(cost, error, "o" if own else "s", color="tab:blue" if own else "tab:gray")
        axes.annotate(column, (cost, error), textcoords="offset points", xytext=(6, 4))
    axes.set(xscale="log", yscale="log", xlabel="CPU µs/atom, energy and forces", ylabel="force RMSE, meV/Å")
    axes.set_title(f"{options.set}, {study.minutes:g} CPU minutes of training, one core")
    axes.grid(which="both", alpha=0.3)
    for axis in (axes.xaxis, axes.yaxis):  # less than a decade has no round powers of ten
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(ScalarFormatter())
    axes.margins(0.4)
    figure.savefig(options.picture, dpi=150)


if __name__ == "__main__":
    main()
