"""The plane of error and cost, from a study that accuracy.py has trained.

    python benchmarks/accuracy_plane.py study.yaml plane.png --panel silicon given --panel acid "600 K"

One point for each column of the study: CPU microseconds an atom (of the set's `cost` frame) against the force RMSE on
one of its tests, means over seeds; variants are circles, peers squares. Lower and further left is better.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from accuracy import QUANTITIES, Piece, Study, at, read_study
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter


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


def draw(axes: Axes, study: Study, data: str, test: str) -> None:
    """One panel; raises ValueError where there is nothing to draw."""
    if data not in study.sets:
        raise ValueError(f"no set {data!r}; the study has {', '.join(study.sets)}")
    found = points(study, data, test)
    if not found:
        raise ValueError(f"{data}, {test}: no column of the study has both an error and a cost there")
    for column, (cost, error) in found.items():
        marker = "o" if column in study.variants else "s"
        axes.plot(cost, error, marker, color=f"C{study.columns().index(column)}", label=column.replace("_", " "))
    axes.set(xscale="log", yscale="log", xlabel="CPU µs/atom, energy and forces", ylabel="force RMSE, meV/Å")
    axes.set_title(f"{data}, {test}")
    axes.grid(which="both", alpha=0.3)
    axes.margins(0.3)
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1,) if high > 300 * low else (1, 2, 5)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="YAML file")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument(
        "--panel",
        nargs=2,
        action="append",
        required=True,
        metavar=("SET", "TEST"),
        help="a set of the study, with a `cost` frame, and one of its tests",
    )
    options = parser.parse_args()
    study = read_study(options.study)
    n = len(options.panel)
    figure, panels = plt.subplots(1, n, figsize=(4.4 * n + 1.4, 3.8), layout="constrained", squeeze=False)
    for axes, (data, test) in zip(panels[0], options.panel, strict=True):
        draw(axes, study, data, test)
    handles = {
        label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    figure.suptitle(f"{study.minutes:g} CPU minutes of training, one core")
    figure.savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
