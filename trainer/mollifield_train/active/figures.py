"""The figures of the report, as SVG text that takes the colour and font of the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.neighborlist import natural_cutoffs, neighbor_list
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

Array = NDArray[np.float64]

ARM_COLOURS = {"active": "#c2571a", "random": "#4a7fb5"}
_INK = "#010203"
"""Stands for the page's own text colour until the figure is SVG."""
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
_MEV = 1000.0


def learning_curve(metrics: Sequence[dict[str, Any]]) -> str:
    """Force RMSE on the test frames against the number of training frames, one line an arm."""
    with matplotlib.rc_context(_STYLE):
        figure, (axes,) = _axes(1, width=8.2, height=3.4)
        for arm in dict.fromkeys(row["arm"] for row in metrics):
            rows = [row for row in metrics if row["arm"] == arm]
            x = [row["n_frames"] for row in rows]
            y = [_MEV * row["force_rmse"] for row in rows]
            axes.plot(x, y, "o-", color=ARM_COLOURS[arm], label=arm, markersize=5, linewidth=1.6)
        axes.set(xlabel="training frames", ylabel="force RMSE (meV/Å)")
        axes.set_xticks(sorted({row["n_frames"] for row in metrics}))
        axes.set_ylim(0, 1.08 * _MEV * max(row["force_rmse"] for row in metrics))
        axes.legend()
        return _svg(figure)


def parity(predictions: dict[str, Array]) -> str:
    """Predicted against reference energies and force components of the test frames."""
    with matplotlib.rc_context(_STYLE):
        figure, (left, right) = _axes(2, width=8.2, height=3.9)
        n_atoms = predictions["forces"].shape[1]
        reference = predictions["energy_reference"]
        origin = reference.mean()
        _parity(left, _MEV * (reference - origin) / n_atoms,
                _MEV * (predictions["energy"] - origin) / n_atoms)  # fmt: skip
        left.set(xlabel="reference (meV/atom, from the mean)", ylabel="model (meV/atom)",
                 title="Energy")  # fmt: skip
        _parity(right, predictions["forces_reference"].ravel(), predictions["forces"].ravel())
        right.set(xlabel="reference (eV/Å)", ylabel="model (eV/Å)", title="Force components")
        return _svg(figure)


def _parity(axes: Axes, x: Array, y: Array) -> None:
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    axes.plot([low, high], [low, high], color=_INK, linewidth=0.7, alpha=0.6)
    axes.scatter(x, y, s=5, color=ARM_COLOURS["active"], alpha=0.45, linewidths=0, rasterized=True)
    axes.set_aspect("equal")


def reliability(std: Array, error: Array, components: Array) -> str:
    """How far the committee's std can be believed.

    Args:
        std: ``[n]`` predicted force std of each atom, eV/Å.
        error: ``[n]`` length of its force error, eV/Å.
        components: ``[n, 3]`` force error of each atom.
    """
    with matplotlib.rc_context(_STYLE):
        figure, (left, right) = _axes(2, width=8.2, height=3.9)
        predicted, actual = binned_rms(std, error, n_bins=10)
        low, high = _MEV * min(predicted[0], actual.min()), _MEV * max(predicted[-1], actual.max())
        left.plot([low, high], [low, high], color=_INK, linewidth=0.7, alpha=0.6)
        left.plot(_MEV * predicted, _MEV * actual, "o-", color=ARM_COLOURS["active"], markersize=4)
        left.set(xscale="log", yscale="log", title="Predicted against actual",
                 xlabel="predicted force std (meV/Å)", ylabel="actual RMS error (meV/Å)")  # fmt: skip
        _plain_log_ticks(left.xaxis)
        _plain_log_ticks(left.yaxis)
        z = (components / (std[:, None] / np.sqrt(3.0))).ravel()
        edges = np.linspace(-6.0, 6.0, 49)
        counts, _ = np.histogram(z, edges)
        heights = counts / (len(z) * np.diff(edges))
        right.stairs(heights, edges, color=ARM_COLOURS["active"], fill=True, alpha=0.55)
        x = np.linspace(-6.0, 6.0, 200)
        right.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color=_INK, linewidth=0.9)
        right.set(xlabel="force error / predicted std, each component", ylabel="density",
                  title="Standardised residuals")  # fmt: skip
        return _svg(figure)


def binned_rms(std: Array, error: Array, n_bins: int) -> tuple[Array, Array]:
    """RMS of predicted std and of actual error, ``[n_bins]`` each, in bins of equal population."""
    order = np.argsort(std, kind="stable")
    bins = [part for part in np.array_split(order, n_bins) if len(part)]
    predicted = np.array([np.sqrt(np.mean(std[part] ** 2)) for part in bins])
    actual = np.array([np.sqrt(np.mean(error[part] ** 2)) for part in bins])
    return predicted, actual


def trajectories(traces: Sequence[Sequence[dict[str, Any]]], timestep: float) -> str:
    """Largest force std along the trajectories, one panel a round; ``timestep`` in fs."""
    with matplotlib.rc_context(_STYLE):
        figure, panels = _axes(len(traces), width=9.0, height=3.1, sharey=True)
        for number, (axes, round_traces) in enumerate(zip(panels, traces, strict=True), start=1):
            for index, trace in enumerate(round_traces):
                time = np.array(trace["step"]) * timestep / 1000
                label = f"trajectory {index + 1}" if number == 1 else None
                colour = list(ARM_COLOURS.values())[index % 2]
                axes.plot(time, trace["max_std"], linewidth=0.9, color=colour, label=label)
            axes.axhline(round_traces[0]["select"], color=_INK, linestyle="--", linewidth=0.8)
            axes.set(xlabel="time (ps)", yscale="log", title=f"round {number}")
        _plain_log_ticks(panels[0].yaxis)
        panels[0].set_ylabel("largest force std (eV/Å)")
        if len(traces[0]) > 1:
            panels[0].legend(fontsize=8)
        return _svg(figure)


def gallery(frames: Sequence[Atoms], stds: Sequence[Array], titles: Sequence[str]) -> str:
    """Molecules in their own plane, each atom coloured by its force std (``[N]`` eV/Å)."""
    with matplotlib.rc_context(_STYLE):
        n_columns = 3
        n_rows = -(-len(frames) // n_columns)
        figure = Figure(figsize=(8.6, 2.7 * n_rows), layout="constrained")
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        top = max(float(std.max()) for std in stds)
        norm = matplotlib.colors.Normalize(0.0, _MEV * top)
        for axes in grid.flat:
            axes.axis("off")
        for axes, atoms, std, title in zip(grid.flat, frames, stds, titles, strict=False):
            _draw_molecule(axes, atoms, _MEV * std, norm)
            axes.set_title(title, fontsize=9)
        scale = matplotlib.cm.ScalarMappable(norm, "viridis")
        figure.colorbar(scale, ax=grid, shrink=0.6, label="force std (meV/Å)")
        return _svg(figure)


def _draw_molecule(axes: Axes, atoms: Atoms, std: Array, norm: Any) -> None:
    positions = atoms.get_positions() - atoms.get_positions().mean(axis=0)
    positions = positions @ np.linalg.svd(positions)[2].T  # principal axes: widest view first
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.25))
    bonds = [positions[[i, j], :2] for i, j in zip(first, second, strict=True) if i < j]
    axes.add_collection(LineCollection(bonds, colors=_INK, alpha=0.5, linewidths=1.6, zorder=1))
    for index in np.argsort(positions[:, 2]):
        number = atoms.numbers[index]
        radius = 0.75 * covalent_radii[number]
        colour = matplotlib.colormaps["viridis"](norm(std[index]))
        axes.add_patch(
            matplotlib.patches.Circle(
                positions[index, :2], radius, facecolor=colour, edgecolor=_INK, linewidth=0.6, zorder=2
            )
        )
        dark = np.dot(colour[:3], [0.299, 0.587, 0.114]) < 0.5
        axes.annotate(
            chemical_symbols[number], positions[index, :2], ha="center", va="center",
            fontsize=8, color="white" if dark else "black", zorder=3,
        )  # fmt: skip
    reach = np.abs(positions[:, :2]).max() + 1.0
    axes.set(xlim=(-reach, reach), ylim=(-0.75 * reach, 0.75 * reach), aspect="equal")


def _plain_log_ticks(axis: Axis) -> None:
    """1, 2, 5, 10, ... written out: a log axis of less than a decade has no other labels."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _axes(
    n: int, width: float, height: float, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    grid = figure.subplots(1, n, squeeze=False, sharey=sharey)
    return figure, list(grid.flat)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r'font-family: [^;"]*', "font-family: inherit", svg)
    # The page sets the width; the view box keeps the proportions.
    return re.sub(r'^(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
