"""The figures of the report, as SVG text that takes the colour and font of the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from ase import Atoms
from ase.units import GPa
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from .. import parity
from ..palette import COLOURS
from . import structures
from .explore.trajectory import MAX_STD, STEP, Trace

Array = NDArray[np.float64]

_INK = "#010203"
"""Stands for the page's own text colour until the figure is SVG."""
_STYLE: dict[Any, Any] = {
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
ZERO = 1e-5
"""eV/Å. A force std below this is zero but for the rounding of float32."""


def learning_curve(metrics: Sequence[dict[str, Any]]) -> str:
    """RMSE of forces and of energies on the test frames against the number of labelled frames, one line an arm."""
    with matplotlib.rc_context(_STYLE):
        figure, panels = _axes(2, width=8.2, height=3.4)
        for axes, key, label in (
            (panels[0], "force_rmse", "force RMSE (meV/Å)"),
            (panels[1], "energy_rmse_per_atom_shifted", "energy RMSE without offset (meV/atom)"),
        ):
            arms = dict.fromkeys(row["arm"] for row in metrics)
            for arm, colour in zip(arms, cycle(COLOURS), strict=False):
                rows = [row for row in metrics if row["arm"] == arm]
                x = [row["n_frames"] for row in rows]
                y = [_MEV * row[key] for row in rows]
                axes.plot(x, y, "o-", color=colour, label=arm, markersize=5, linewidth=1.6)
            axes.set(xlabel="labelled frames", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(0, 1.08 * _MEV * max(row[key] for row in metrics))
        panels[0].legend()
        return _svg(figure)


def parity_panels(predictions: dict[str, Array], groups: Sequence[str]) -> str:
    """Predicted against reference energies, force components and stresses (where there are any) of the test frames.

    `predictions`: see `scores.predict_frames`. `groups`: the composition of each frame; energies count from the mean
    of their own.
    """
    with matplotlib.rc_context(_STYLE):
        with_stress = "stress" in predictions
        figure, panels = _axes(2 + with_stress, width=8.2, height=2.9 if with_stress else 3.9)
        reference, names = predictions["energy_reference"], np.array(groups)
        origin = np.array([reference[names == name].mean() for name in names])
        _parity(
            panels[0],
            _MEV * (reference - origin) / predictions["n_atoms"],
            _MEV * (predictions["energy"] - origin) / predictions["n_atoms"],
        )
        panels[0].set(xlabel="reference (meV/atom, from the mean)", ylabel="model (meV/atom)", title="Energy")
        _parity(panels[1], predictions["forces_reference"].ravel(), predictions["forces"].ravel())
        panels[1].set(xlabel="reference (eV/Å)", ylabel="model (eV/Å)", title="Force components")
        if with_stress:
            _parity(panels[2], predictions["stress_reference"].ravel() / GPa, predictions["stress"].ravel() / GPa)
            panels[2].set(xlabel="reference (GPa)", ylabel="model (GPa)", title="Stress components")
        return _svg(figure)


def _parity(axes: Axes, reference: Array, predicted: Array) -> None:
    parity.draw(axes, reference, predicted, colour=COLOURS[0], ink=_INK)
    axes.set_aspect("equal")


def reliability(std: Array, error: Array, components: Array) -> str:
    """How far the committee's std can be believed.

    `std`: `[n]` predicted force std of each atom, eV/Å, above zero. `error`: `[n]` length of its force error, eV/Å.
    `components`: `[n, 3]` force error of each atom.
    """
    with matplotlib.rc_context(_STYLE):
        figure, (left, right) = _axes(2, width=8.2, height=3.9)
        predicted, actual = binned_rms(std, error, n_bins=10)
        low, high = _MEV * min(predicted[0], actual.min()), _MEV * max(predicted[-1], actual.max())
        left.plot([low, high], [low, high], color=_INK, linewidth=0.7, alpha=0.6)
        left.plot(_MEV * predicted, _MEV * actual, "o-", color=COLOURS[0], markersize=4)
        left.set(
            xscale="log",
            yscale="log",
            title="Predicted against actual",
            xlabel="predicted force std (meV/Å)",
            ylabel="actual RMS error (meV/Å)",
        )
        _plain_log_ticks(left.xaxis)
        _plain_log_ticks(left.yaxis)
        z = (components / (std[:, None] / np.sqrt(3.0))).ravel()
        edges = np.linspace(-6.0, 6.0, 49)
        counts, _ = np.histogram(z, edges)
        heights = counts / (len(z) * np.diff(edges))
        right.stairs(heights, edges, color=COLOURS[0], fill=True, alpha=0.55)
        x = np.linspace(-6.0, 6.0, 200)
        right.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color=_INK, linewidth=0.9)
        right.set(
            xlabel="force error / predicted std, each component", ylabel="density", title="Standardised residuals"
        )
        return _svg(figure)


def binned_rms(std: Array, error: Array, n_bins: int) -> tuple[Array, Array]:
    """RMS of predicted std and of actual error, `[n_bins]` each, in bins of equal population."""
    order = np.argsort(std, kind="stable")
    bins = [part for part in np.array_split(order, n_bins) if len(part)]
    predicted = np.array([np.sqrt(np.mean(std[part] ** 2)) for part in bins])
    actual = np.array([np.sqrt(np.mean(error[part] ** 2)) for part in bins])
    return predicted, actual


def trajectories(traces: Sequence[Sequence[tuple[Trace, float]]], step_length: float | None) -> str:
    """Largest force std along the trajectories, one panel a round, and the round's threshold (eV/Å).

    `step_length` in fs; None: steps are counted.
    """
    with matplotlib.rc_context(_STYLE):
        figure, panels = _axes(len(traces), width=9.0, height=3.1, sharey=True)
        colours = matplotlib.color_sequences["tab10"]
        most = max(len(round_traces) for round_traces in traces)
        for number, (axes, round_traces) in enumerate(zip(panels, traces, strict=True), start=1):
            for index, (trace, _) in enumerate(round_traces):
                along = np.array(trace[STEP]) * (1.0 if step_length is None else step_length / 1000)
                std = np.array(trace[MAX_STD], dtype=float)
                std[std < ZERO] = np.nan  # a perfect crystal, see the report; it has no place on this axis
                label = f"trajectory {index + 1}" if len(round_traces) == most else None
                axes.plot(along, std, linewidth=0.9, color=colours[index % len(colours)], label=label)
            axes.axhline(round_traces[0][1], color=_INK, linestyle="--", linewidth=0.8)
            axes.set(xlabel="step" if step_length is None else "time (ps)", yscale="log", title=f"round {number}")
        _plain_log_ticks(panels[0].yaxis)
        panels[0].set_ylabel("largest force std (eV/Å)")
        if most > 1:
            next(axes for axes, part in zip(panels, traces, strict=True) if len(part) == most).legend(fontsize=8)
        return _svg(figure)


def latent_map(groups: Mapping[str, Array], held: float) -> str:
    """Frames as points `[n, 2]` by the name of their group, the first one in grey; `held`: part of the variance."""
    with matplotlib.rc_context(_STYLE):
        figure, (axes,) = _axes(1, width=8.2, height=4.4)
        (first, behind), *others = groups.items()
        axes.plot(*behind.T, ".", color=_INK, alpha=0.25, markersize=5, label=first)
        for (name, points), colour, marker in zip(others, cycle(COLOURS), cycle("osD^vP*X"), strict=False):
            axes.plot(*points.T, marker, color=colour, markersize=5, label=name)
        axes.set(xlabel="first principal axis", ylabel="second", title=f"{100 * held:.0f}% of the variance")
        axes.set(xticks=[], yticks=[])
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _svg(figure)


def gallery(frames: Sequence[Atoms], stds: Sequence[Array], titles: Sequence[str]) -> str:
    """Frames with each atom coloured by its force std (`[N]` eV/Å): molecules, or a crystal's layers in a row."""
    with matplotlib.rc_context(_STYLE):
        pictures = [structures.panels(atoms, std) for atoms, std in zip(frames, stds, strict=True)]
        widest = max(len(panels) for panels in pictures)
        n_columns = 3 if widest == 1 else structures.MAX_LAYERS
        rows = _rows(pictures, n_columns)
        figure = Figure(figsize=(8.6, (2.7 if widest == 1 else 2.5) * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), n_columns, squeeze=False)
        norm = matplotlib.colors.Normalize(0.0, max(_MEV * max(float(std.max()) for std in stds), 1e-6))
        for axes in grid.flat:
            axes.axis("off")
        for row, places in enumerate(rows):
            for column, (frame, panel) in enumerate(places):
                axes, reach = grid[row, column], structures.reach_of(pictures[frame])
                structures.draw(axes, frames[frame], panel, _MEV * stds[frame], norm, _INK, reach)
                first = column == 0 or places[column - 1][0] != frame
                axes.set_title("\n".join(filter(None, [titles[frame] if first else " ", panel.title])), fontsize=8)
        scale = matplotlib.cm.ScalarMappable(norm, "viridis")
        figure.colorbar(scale, ax=grid, shrink=0.6, label="force std (meV/Å)")
        return _svg(figure)


def _rows(pictures: Sequence[Sequence[structures.Panel]], n_columns: int) -> list[list[tuple[int, structures.Panel]]]:
    """Panels, each with the index of its frame, in rows; those of a frame stay in one row."""
    rows: list[list[tuple[int, structures.Panel]]] = [[]]
    for index, panels in enumerate(pictures):
        if len(rows[-1]) + len(panels) > n_columns:
            rows.append([])
        rows[-1] += [(index, panel) for panel in panels]
    return rows


def _plain_log_ticks(axis: Axis) -> None:
    """1, 2, 5, 10, ... written out: a log axis of less than a decade has no other labels."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _axes(n: int, width: float, height: float, sharey: bool = False) -> tuple[Figure, list[Axes]]:
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
