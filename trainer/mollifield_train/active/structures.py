"""Pictures of frames: molecules in their own plane, crystals cut into layers, so that no atom hides another.

A crystal is seen along one of its cell's axes. Atoms whose coordinates along it lie close together are a layer, and
every layer has a panel of its own: a vacancy is a hole in one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.geometry import complete_cell
from ase.neighborlist import natural_cutoffs, neighbor_list
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BOND = 1.25
"""Atoms nearer than this times the sum of their covalent radii are drawn as bonded."""
_LAYER_GAP = 0.5
"""Å. Atoms farther apart than this along the view, with none between them, are in different layers."""
_THICKEST = 2.0
"""Å. A layer thicker than this is no layer: all is cut into equal slices, as in a liquid."""
_SLICE = 4.0
"""Å, thickness of such a slice, at most."""
_NEAR_BOUNDARY = 0.15
"""Of a period: how far atoms may be moved to the cell's other side to keep rows and layers whole."""
MAX_LAYERS = 4


@dataclass(frozen=True)
class Panel:
    """A plane figure of some atoms of a frame; lengths in Å."""

    indices: NDArray[np.int64]
    """`[n]` atoms, the ones farthest from the viewer first."""
    places: Array
    """`[n, 2]`."""
    bonds: Array
    """`[b, 2, 2]` ends of lines; a bond to a periodic image is a line half as long, at both of its atoms."""
    outline: Array
    """`[4, 2]` corners of the cell, or `[0, 2]`."""
    title: str


def panels(atoms: Atoms, std: Array) -> list[Panel]:
    """A molecule's one panel, or those of a crystal's layers, at most `MAX_LAYERS` around the largest `std`."""
    first, second, shift = neighbor_list("ijS", atoms, natural_cutoffs(atoms, mult=_BOND))
    offsets = _molecule(len(atoms), first, second, shift) if atoms.pbc.any() else np.zeros((len(atoms), 3))
    if offsets is None:
        return _layers(atoms, std, first, second, shift)
    positions = atoms.get_positions() + offsets @ atoms.cell.array
    positions = positions - positions.mean(axis=0)
    positions = positions @ np.linalg.svd(positions)[2].T  # principal axes: widest view first
    inside = first < second
    bonds = np.stack([positions[first[inside], :2], positions[second[inside], :2]], axis=1)
    order = np.argsort(positions[:, 2])
    return [Panel(order, positions[order, :2], bonds, np.zeros((0, 2)), "")]


def _molecule(n_atoms: int, first: Array, second: Array, shift: Array) -> Array | None:
    """Lattice vectors `[N, 3]` to add to each atom to make one molecule whole; None for anything else.

    Walks along the bonds from the first atom: a crystal comes back to an atom by another image of it.
    """
    offsets = {0: np.zeros(3)}
    front = [0]
    while front:
        atom = front.pop()
        for edge in np.flatnonzero(first == atom):
            place = offsets[atom] + shift[edge]
            other = int(second[edge])
            if other not in offsets:
                offsets[other] = place
                front.append(other)
            elif not np.array_equal(offsets[other], place):
                return None
    return np.array([offsets[k] for k in range(n_atoms)]) if len(offsets) == n_atoms else None


def _layers(atoms: Atoms, std: Array, first: Array, second: Array, shift: Array) -> list[Panel]:
    cell = complete_cell(atoms.cell.array)
    axis = _view(cell, atoms.pbc)
    normal = np.cross(cell[axis - 2], cell[axis - 1])
    normal /= np.linalg.norm(normal)
    right = cell[axis - 2] / np.linalg.norm(cell[axis - 2])
    plane = np.array([right, np.cross(normal, right)]).T  # [3, 2]
    fractional = np.linalg.solve(cell.T, atoms.get_positions().T).T
    height = abs(cell[axis] @ normal)
    for k in np.flatnonzero(atoms.pbc):
        fractional[:, k] = _wrapped(fractional[:, k])
    layer = _layer_of(fractional[:, axis], height)
    positions = fractional @ cell
    vectors = atoms.get_positions()[second] + shift @ atoms.cell.array - atoms.get_positions()[first]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ np.array([cell[axis - 2], cell[axis - 1]]) @ plane
    found = []
    for name in _shown(layer, std):
        indices = np.flatnonzero(layer == name)
        indices = indices[np.argsort(positions[indices] @ normal)]
        bonded = (layer[first] == name) & (layer[second] == name)
        start = positions[first[bonded]] @ plane
        # Half of each bond from either end: across the boundary the halves do not meet.
        bonds = np.stack([start, start + 0.5 * vectors[bonded] @ plane], axis=1)
        title = f"layer {name + 1} of {layer.max() + 1} along {'abc'[axis]}"
        found.append(Panel(indices, positions[indices] @ plane, bonds, corners, title))
    return found


def _view(cell: Array, pbc: NDArray[np.bool_]) -> int:
    """The axis to look along: one that is not periodic, or else the one with the fewest layers."""
    heights = np.abs(np.linalg.det(cell)) / np.array(
        [np.linalg.norm(np.cross(cell[k - 2], cell[k - 1])) for k in range(3)]
    )
    # Of axes that are equal but for rounding and strain, the last: a crystal's c.
    among = [k for k in range(3) if not pbc[k]] or [k for k in range(3) if heights[k] < 1.05 * heights.min()]
    return among[-1]


def _wrapped(fractional: Array) -> Array:
    """Into one period, cut where there are no atoms near the boundary: a row that moves about it stays together."""
    fractional = fractional - np.floor(fractional)
    places = np.sort(fractional)
    following = np.append(places[1:], places[0] + 1.0)
    gaps, middles = following - places, 0.5 * (places + following)
    middles -= np.round(middles)
    near = np.abs(middles) < _NEAR_BOUNDARY
    cut = 0.0
    if near.any():
        # Of gaps about as wide, the one below the boundary: atoms at the origin stay there.
        wide = middles[near & (gaps > 0.7 * gaps[near].max())]
        cut = wide[np.lexsort((np.abs(wide), wide > 0.0))[0]]
    return fractional - np.floor(fractional - cut)


def _layer_of(along: Array, height: float) -> NDArray[np.int64]:
    """The layer of each atom, counted from the bottom, by its fractional coordinate."""
    order = np.argsort(along)
    layer = np.zeros(len(along), dtype=np.int64)
    layer[order[1:]] = np.cumsum(np.diff(along[order]) * height > _LAYER_GAP)
    thickness = max(np.ptp(along[layer == k]) for k in range(layer.max() + 1)) * height
    if thickness <= _THICKEST:
        return layer
    n_slices = int(np.ceil(np.ptp(along) * height / _SLICE))
    slices = (along - along.min()) / np.ptp(along) * n_slices
    return np.minimum(slices.astype(np.int64), n_slices - 1)


def _shown(layer: NDArray[np.int64], std: Array) -> list[int]:
    """Layers to draw: all, or the ones around the atom with the largest std, bottom to top."""
    n_layers = int(layer.max()) + 1
    worst = int(layer[int(np.argmax(std))])
    first = min(max(worst - (MAX_LAYERS - 1) // 2, 0), max(n_layers - MAX_LAYERS, 0))
    return [k for k in range(first, min(first + MAX_LAYERS, n_layers)) if (layer == k).any()]


def draw(axes: Axes, atoms: Atoms, panel: Panel, std: Array, norm: Any, ink: str, reach: float) -> None:
    """Draw a panel; `norm` maps `std` (`[N]`) to colours, `reach` (Å) is half the width that is shown."""
    centre = panel.outline.mean(axis=0) if len(panel.outline) else np.zeros(2)
    if len(panel.outline):
        axes.add_patch(
            matplotlib.patches.Polygon(
                panel.outline, closed=True, fill=False, edgecolor=ink, linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.7
            )
        )
    axes.add_collection(LineCollection(list(panel.bonds), colors=ink, alpha=0.5, linewidths=1.4, zorder=1))
    font = float(np.clip(26.0 / reach, 4.0, 8.0))
    for index, place in zip(panel.indices, panel.places, strict=True):
        number = atoms.numbers[index]
        colour = matplotlib.colormaps["viridis"](norm(std[index]))
        axes.add_patch(
            matplotlib.patches.Circle(
                place, 0.75 * min(covalent_radii[number], 1.2), facecolor=colour, edgecolor=ink, linewidth=0.6, zorder=2
            )
        )
        dark = np.dot(colour[:3], [0.299, 0.587, 0.114]) < 0.5
        axes.annotate(
            chemical_symbols[number],
            place,
            ha="center",
            va="center",
            fontsize=font,
            color="white" if dark else "black",
            zorder=3,
        )
    axes.set(
        xlim=(centre[0] - reach, centre[0] + reach),
        ylim=(centre[1] - 0.75 * reach, centre[1] + 0.75 * reach)
        if not len(panel.outline)
        else (centre[1] - reach, centre[1] + reach),
        aspect="equal",
    )


def reach_of(panels_of_frame: Sequence[Panel]) -> float:
    """Å from the middle to the edge of a picture that holds all of a frame's panels."""
    reach = 0.0
    for panel in panels_of_frame:
        points = np.concatenate([panel.places, panel.outline])
        centre = panel.outline.mean(axis=0) if len(panel.outline) else np.zeros(2)
        reach = max(reach, float(np.abs(points - centre).max()))
    return reach + 1.0
