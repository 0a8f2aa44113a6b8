"""Errors as a picture: predicted against labelled, errors of groups, and errors against what was stated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import parity
from ..data.checks import energies_beside_composition
from ..metrics import MILLI, FrameErrors, rmse
from ..palette import COLOURS
from .calibration import N_LEAST, bins, observed
from .tables import groups_of

OTHER, COLOUR = COLOURS[:2]
N_BARS = 15
TITLES = {"energy": "energy, composition and offset apart (eV/atom)", "forces": "force component (eV/Å)"}
TITLES |= {"stress": "stress component (eV/Å³)"}


def draw(frames: Sequence[FrameErrors], path: Path, by: str | None = None) -> None:
    """Write a PNG; needs no display. Panels of what there is: labels, a committee, groups."""
    from matplotlib.figure import Figure

    panels: list[tuple[str, Any]] = [(quantity, found) for quantity in TITLES if (found := pairs(frames, quantity))]
    panels += [(f"{q} calibration", (q, *o)) for q in ("energy", "forces") if len((o := observed(frames, q))[0])]
    groups = groups_of(frames, by) if by is not None else {}
    n_panels = len(panels) + bool(groups)
    n_columns = min(3, n_panels)
    n_rows = -(-n_panels // n_columns)
    figure = Figure(figsize=(4.4 * n_columns, 3.9 * n_rows), layout="constrained")
    places = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, content) in zip(places, panels, strict=False):
        if name in TITLES:
            reference, predicted = content
            parity.draw(axes, reference, predicted, COLOUR)
            axes.set(xlabel=TITLES[name], ylabel="predicted")
        else:
            _calibration(axes, *content)
    if groups:
        _bars(places[len(panels)], groups, str(by))
    for axes in places[n_panels:]:
        axes.set_axis_off()
    for axes in places:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def pairs(frames: Sequence[FrameErrors], quantity: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Labels and predictions, flat; None where there is no label.

    Of energies what compositions do not explain, an atom, and predictions less their common offset.
    """
    some = [(frame.frame, found) for frame in frames if (found := frame.deviations(quantity)) is not None]
    if not some:
        return None
    deviations = np.concatenate([found.mean(axis=0) for _, found in some])
    if quantity == "energy":
        _, reference = energies_beside_composition([frame for frame, _ in some])
        return reference, reference + deviations - deviations.mean()
    rows = [frame.labelled_atoms if quantity == "forces" else slice(None) for frame, _ in some]
    labels = [getattr(frame, quantity)[row] for (frame, _), row in zip(some, rows, strict=True)]
    reference = np.concatenate([np.ravel(label) for label in labels])
    return reference, reference + deviations


def _calibration(axes: Any, quantity: str, stds: np.ndarray, errors: np.ndarray) -> None:
    """Each value, and root mean squares of bins, which lie on the line where stds are right."""
    axes.loglog(MILLI * stds, MILLI * np.maximum(errors, 1e-7), ".", markersize=2, color=COLOUR, alpha=0.4)
    if len(stds) >= N_LEAST:
        rows = bins(stds, errors)
        axes.plot([row["std"] for row in rows], [row["rms_error"] for row in rows], "o-", color=OTHER, label="RMS")
        axes.legend(frameon=False, fontsize=8)
    ends = MILLI * np.array([stds.min(), stds.max()])
    axes.plot(ends, ends, color="black", linewidth=0.7)
    unit = "meV/Å" if quantity == "forces" else "meV/atom"
    axes.set(xlabel=f"stated std of the {quantity} ({unit})", ylabel="error")


def _bars(axes: Any, groups: dict[str, list[FrameErrors]], by: str) -> None:
    """Force RMSE of the worst groups, or that of energies where there are no forces."""
    quantity, unit = "forces", "meV/Å"
    if not any(frame.frame.forces is not None for frames in groups.values() for frame in frames):
        quantity, unit = "energy", "meV/atom"
    found = {
        name: MILLI * rmse(np.concatenate(pieces))
        for name, frames in groups.items()
        if (pieces := [d.mean(axis=0) for frame in frames if (d := frame.deviations(quantity)) is not None])
    }
    worst = sorted(found.items(), key=lambda item: -item[1])[:N_BARS]
    axes.barh([name[-24:] for name, _ in worst], [value for _, value in worst], 0.7, color=COLOUR)
    axes.set_ylim(max(len(worst), 5) - 0.5, -0.5)
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel=f"{quantity} RMSE ({unit})", title=f"by {by}")
