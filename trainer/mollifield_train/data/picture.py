"""A picture of labelled frames: where they lie, and what does not fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..palette import COLOURS
from .checks import energies_beside_composition
from .frames import CONFIG_TYPE, LABELS, Frame
from .survey import Survey, counts
from .work import works

OTHER = "#909090"
"""Of groups beyond as many as there are colours, the largest first."""
N_BARS = 12


def draw_survey(found: Survey, path: Path) -> str:
    """Write a PNG; needs no display. Returns what colours stand for: 'config_type', 'file' or 'composition'."""
    from matplotlib.figure import Figure

    frames = [frame for frame in found.frames if not frame.is_isolated_atom]
    by = next((by for by in (CONFIG_TYPE, "file") if len({frame.group(by) for frame in frames}) > 1), "composition")
    groups = _groups(frames, by)
    figure = Figure(figsize=(13.5, 7.6), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    for panel, draw in zip(panels, (_labels, _energies, _forces, _outliers, _distances, _works), strict=True):
        draw(panel, found, frames, by, groups)
        panel.spines[["top", "right"]].set_visible(False)
        panel.title.set(size=10, ha="left", x=0.0)
    figure.suptitle(f"{len(found.frames)} frames, colours by {by}", x=0.01, ha="left", fontsize=11)
    figure.savefig(path, dpi=130)
    return by


def _groups(frames: Sequence[Frame], by: str) -> dict[str, str]:
    """Colour of each group, the largest first."""
    names = list(counts(frames, by))
    return {name: COLOURS[k] if k < len(COLOURS) else OTHER for k, name in enumerate(names)}


def _labels(axes: Any, found: Survey, frames: Sequence[Frame], by: str, groups: dict[str, str]) -> None:
    axes.set_title("labels of each group")
    rows = list(counts(frames, by).items())[:N_BARS]
    for k, (name, row) in enumerate(rows):
        for shift, label in zip((-0.26, 0.0, 0.26), LABELS, strict=True):
            axes.barh(k + shift, row[label], height=0.22, color=groups[name], alpha=1.0 if label == "energy" else 0.6)
            axes.text(row[label], k + shift, f" {label} {row[label]}", va="center", fontsize=6)
    more = len(groups) - len(rows)
    axes.set_yticks(range(len(rows)), [_short(name) for name, _ in rows], fontsize=8)
    axes.set_xlabel("frames" + (f" ({more} groups more)" if more > 0 else ""))
    axes.margins(x=0.18)
    axes.invert_yaxis()


def _energies(axes: Any, found: Survey, frames: Sequence[Frame], by: str, groups: dict[str, str]) -> None:
    """Against the volume where most frames have one."""
    labelled, energies = energies_beside_composition(frames)
    periodic = sum(frame.pbc.all() for frame in labelled) > len(labelled) / 2
    axes.set_title("energy, composition apart")
    for name, colour in reversed(groups.items()):
        rows = [k for k, frame in enumerate(labelled) if frame.group(by) == name and (frame.pbc.all() or not periodic)]
        if periodic:
            volumes = [abs(np.linalg.det(labelled[k].cell)) / len(labelled[k].numbers) for k in rows]
            axes.plot(volumes, energies[rows], ".", markersize=3, color=colour)
        elif rows:
            axes.hist(energies[rows], bins=40, histtype="step", color=colour)
    axes.set_xlabel("volume an atom (Å³)" if periodic else "eV/atom")
    axes.set_ylabel("eV/atom" if periodic else "frames")


def _forces(axes: Any, found: Survey, frames: Sequence[Frame], by: str, groups: dict[str, str]) -> None:
    axes.set_title("forces of atoms")
    lengths = {
        name: np.concatenate([np.zeros(0), *(_lengths(frame) for frame in frames if frame.group(by) == name)])
        for name in groups
    }
    largest = max((values.max(initial=0.0) for values in lengths.values()), default=0.0)
    for name, values in lengths.items():
        if len(values):
            axes.hist(
                values, bins=np.linspace(0.0, max(largest, 1e-6), 80), histtype="step", color=groups[name], log=True
            )
    axes.set_xlabel("|F| (eV/Å)")
    axes.set_ylabel("atoms")


def _outliers(axes: Any, found: Survey, frames: Sequence[Frame], by: str, groups: dict[str, str]) -> None:
    axes.set_title("outliers are far from the others")
    labelled, energies = energies_beside_composition(frames)
    centre = np.median(energies) if len(energies) else 0.0
    for name, colour in reversed(groups.items()):
        rows = [k for k, frame in enumerate(labelled) if frame.group(by) == name and frame.forces is not None]
        largest = [_lengths(labelled[k]).max() for k in rows]
        axes.plot(largest, np.abs(energies[rows] - centre) + 1e-6, ".", markersize=3, color=colour)
    axes.set(yscale="log", xlabel="largest force (eV/Å)", ylabel="|energy - median| (eV/atom)")


def _distances(axes: Any, found: Survey, frames: Sequence[Frame], by: str, groups: dict[str, str]) -> None:
    axes.set_title("shortest distance of each frame")
    values = found.shortest[np.isfinite(found.shortest)]
    if len(values):
        axes.hist(values, bins=50, color=OTHER)
    shown = list(found.nearest.items())[:8]
    text = "\n".join(f"{pair}  {length:.2f} Å" for pair, length in shown)
    axes.text(0.98, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=8, family="monospace")
    axes.set_xlabel("Å")
    axes.set_ylabel("frames")


def _works(axes: Any, found: Survey, frames: Sequence[Frame], by: str, groups: dict[str, str]) -> None:
    """Points on the line: forces and stresses that energies agree with."""
    axes.set_title("change of energy between two frames")
    some = works(frames)
    for label, marker, colour in (("forces", "x", COLOURS[1]), ("stress", ".", COLOURS[0])):
        if label in some.slope:
            title = f"{label}: {len(some.change)} pairs, slope {some.slope[label]:.3g}"
            axes.plot(some.work[label], some.beside(label), marker, markersize=4, color=colour, label=title)
    if axes.lines:
        axes.axline((0.0, 0.0), slope=1.0, color="black", linewidth=0.7, alpha=0.6)
        axes.legend(frameon=False, fontsize=8)
    else:
        axes.text(0.5, 0.5, "no two frames near each other", transform=axes.transAxes, ha="center", color=OTHER)
    axes.set_xlabel("work of forces, or of stress (eV)")
    axes.set_ylabel("change of energy, the other work apart (eV)")


def _lengths(frame: Frame) -> np.ndarray:
    return np.zeros(0) if frame.forces is None else np.linalg.norm(frame.forces[frame.labelled_atoms], axis=1)


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"…{name[-21:]}"
