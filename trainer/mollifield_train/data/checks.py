"""What is odd about labelled frames, in a few lines, each of which names frames. Nothing is ever left out for it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from .shifts import composition_counts, least_absolute_shifts
from .statistics import THERMAL_FORCE, species_of
from .summary import Frames, Summary

N_NAMED = 5
"""Frames that a line names."""
N_ENOUGH = 5
"""Frames from which on there is a median to be far from."""
FORCE_FACTOR = 20.0
"""A force this many times the largest one of the median frame is odd. Of 2,239 published frames of ethanol, silicon and
TiO2 none is: the largest has a factor of 5.8."""
ENERGY_WIDTHS, ENERGY_LEAST = 20.0, 0.5
"""An energy is odd that lies this many widths (1.4826 times the median absolute deviation), and this many eV/atom, from
what the composition says."""


def check_frames(frames: Sequence[Summary]) -> list[str]:
    """One line about each kind of oddity: missing labels, outliers, stresses of zero, copies."""
    found = [*missing_labels(frames), *odd_forces(frames), *odd_energies(frames), *zero_stress(frames)]
    return [*found, *copies(frames)]


def missing_labels(frames: Sequence[Summary]) -> list[str]:
    """Frames without a label that others have."""
    lines = []
    for label in ("energy", "forces"):
        without = [frame for frame in frames if label not in frame.labels]
        if without:
            lines.append(
                f"{len(without)} of {len(frames)} frames have no {label} and count for what they have: {names(without)}"
            )
    return lines


def odd_forces(frames: Sequence[Summary]) -> list[str]:
    """Frames whose largest force is far above that of the median frame, by `FORCE_FACTOR`."""
    found = [(force, frame) for frame in frames if (force := frame.largest_force) is not None]
    if len(found) < N_ENOUGH:
        return []
    largest, labelled = np.array([force for force, _ in found]), [frame for _, frame in found]
    middle = max(float(np.median(largest)), THERMAL_FORCE)
    odd = [k for k in np.argsort(-largest, kind="stable") if largest[k] > FORCE_FACTOR * middle]
    if not odd:
        return []
    return [
        f"forces up to {largest[odd[0]]:.4g} eV/Å, where the median frame's largest is {middle:.2g}: "
        f"{names(labelled[k] for k in odd)}"
    ]


def odd_energies(frames: Sequence[Summary]) -> list[str]:
    """Frames whose energy is far from what their composition says, by `ENERGY_WIDTHS` and `ENERGY_LEAST`."""
    labelled, residuals = energies_beside_composition(frames)
    if len(labelled) < N_ENOUGH:
        return []
    deviations = np.abs(residuals - np.median(residuals))
    allowed = max(ENERGY_WIDTHS * 1.4826 * float(np.median(deviations)), ENERGY_LEAST)
    odd = [k for k in np.argsort(-deviations, kind="stable") if deviations[k] > allowed]
    if not odd:
        return []
    return [
        f"energies up to {deviations[odd[0]]:.4g} eV/atom from those of the other frames, composition apart: "
        f"{names(labelled[k] for k in odd)}"
    ]


def energies_beside_composition(frames: Sequence[Frames]) -> tuple[list[Frames], np.ndarray]:
    """Frames with an energy, and what their compositions do not explain of it, [those frames] in eV/atom."""
    labelled = [frame for frame in frames if frame.energy is not None]
    if not labelled:
        return [], np.zeros(0)
    species = species_of(labelled)
    energies = np.array([frame.energy for frame in labelled])
    counts, n_atoms = composition_counts(labelled, species)
    shifts = least_absolute_shifts(labelled, energies[None], species)[0]
    return labelled, (energies - counts @ shifts) / n_atoms


def zero_stress(frames: Sequence[Summary]) -> list[str]:
    """Frames with forces and a stress of exactly zero, which is what programs write that compute none."""
    odd = [frame for frame in frames if frame.is_stress_zero and frame.largest_force]
    return [f"stress is exactly zero although forces are not: {names(odd)}"] if odd else []


def copies(frames: Sequence[Summary]) -> list[str]:
    """Frames of the same geometry, and by how much their energies differ."""
    met = Counter(frame.content for frame in frames)
    if len(met) == len(frames):
        return []
    groups: dict[str, list[Summary]] = defaultdict(list)
    for frame in frames:
        if met[frame.content] > 1:
            groups[frame.content].append(frame)
    repeated = list(groups.values())
    energies = [[frame.energy for frame in group if frame.energy is not None] for group in repeated]
    spread = max(max(values, default=0.0) - min(values, default=0.0) for values in energies)
    labels = f"; energies differ by up to {spread:.3g} eV" if spread > 0.0 else ""
    named = "; ".join(names(group) for group in repeated[:N_NAMED])
    more = f"; and {len(repeated) - N_NAMED} geometries more" if len(repeated) > N_NAMED else ""
    n_copies = sum(map(len, repeated)) - len(repeated)
    return [f"copies of a geometry, {n_copies} too many{labels}: {named}{more}"]


def names(frames: Iterable[Summary]) -> str:
    """'frames 3, 17 of train.xyz, frame 2 of more.xyz and 5 more'."""
    frames = list(frames)
    numbers: dict[str, list[str]] = defaultdict(list)
    for frame in frames[:N_NAMED]:
        number, _, source = frame.origin.removeprefix("frame ").partition(" of ")
        numbers[source].append(number)
    text = ", ".join(
        f"{'frames' if len(found) > 1 else 'frame'} {', '.join(found)} of {source}" for source, found in numbers.items()
    )
    return f"{text} and {len(frames) - N_NAMED} more" if len(frames) > N_NAMED else text
