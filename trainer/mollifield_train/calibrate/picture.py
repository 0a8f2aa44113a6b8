"""A calibration as a picture: how often errors lie where they should, and how large they are where stds are large."""

from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.calibration import bins
from ..metrics import MILLI
from ..palette import COLOURS
from .fitting import Calibrated, Observed, Score
from .quality import LEVELS, held

AFTER, BEFORE = COLOURS[:2]


def draw(found: Calibrated, path: Path) -> None:
    """Write a PNG, a row for each quantity; needs no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.0 * len(found.scores)), layout="constrained")
    places = figure.subplots(len(found.scores), 2, squeeze=False)
    for (left, right), (quantity, score) in zip(places, found.scores.items(), strict=True):
        observed = found.observed[quantity]
        _reliability(left, observed, score)
        left.set(xlabel="part that an interval should hold", ylabel="part that it holds", title=quantity)
        _sizes(right, observed, score)
        unit = "meV/Å" if quantity == "forces" else "meV/atom"
        right.set(xlabel=f"std ({unit})", ylabel=f"size of the error ({unit})", title=quantity)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def _reliability(axes: Any, observed: Observed, score: Score) -> None:
    for stds, colour, label in ((observed.raw, BEFORE, "uncalibrated"), (score.stds, AFTER, "calibrated")):
        axes.plot(LEVELS, held(stds, observed.deviations, LEVELS), color=colour, label=label)
    axes.plot([0.0, 1.0], [0.0, 1.0], color="black", linewidth=0.7)
    axes.set_aspect("equal")


def _sizes(axes: Any, observed: Observed, score: Score) -> None:
    """Calibrated values, and root mean squares of bins, which lie on the line where stds are right."""
    errors = observed.errors
    axes.loglog(MILLI * score.stds, MILLI * np.maximum(errors, 1e-7), ".", markersize=2, color=AFTER, alpha=0.3)
    for stds, colour, label in ((observed.raw, BEFORE, "uncalibrated"), (score.stds, AFTER, "calibrated")):
        rows = bins(stds, errors)
        x, y = [row["std"] for row in rows], [row["rms_error"] for row in rows]
        axes.plot(x, y, "o-", color=colour, markersize=4, label=f"{label}, RMS of bins")
    ends = MILLI * np.array([min(observed.raw.min(), score.stds.min()), max(observed.raw.max(), score.stds.max())])
    axes.plot(ends, ends, color="black", linewidth=0.7)
    axes.xaxis.set_minor_formatter("")  # numbers at twos and threes run into one another
