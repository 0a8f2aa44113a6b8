"""What a set of labelled frames is: counts, ranges and what is odd, beyond what a training looks at."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.units import GPa

from ..progress import counted
from .checks import check_frames, energies_beside_composition, names
from .frames import CONFIG_TYPE, LABELS, Frame, Reading, read_frame_sets
from .nearby import edges_of, shortest_of_pairs
from .shifts import undetermined_species
from .work import odd_works

NEAR = 3.0
"""Å: how far neighbours are looked for."""
CONTACT = 0.6
"""A distance below this part of the sum of two covalent radii is odd. Published frames of ethanol, silicon and TiO2
are above 0.73."""
NET_FORCE = 0.005
"""eV/Å. Errors of force components that are that large, and independent, leave a net force of sqrt(3N) times it."""


@dataclass(frozen=True)
class Survey:
    """Frames that could be read, and what there is to say of them."""

    frames: list[Frame]
    refused: list[str]
    """Files and frames that a training would refuse, a line each."""
    nearest: dict[str, float]
    """Å: shortest distance of each pair of elements, 'O-Ti', as far as `NEAR`."""
    shortest: np.ndarray
    """[frames], Å: in each frame; NaN where atoms are farther apart than `NEAR`."""
    odd: list[str]
    """What is odd, a line each."""


def survey(paths: Sequence[str | Path], reading: Reading | None = None, progress: bool = True) -> Survey:
    """Read and look at frames. Raises ValueError for patterns that match nothing and keys that no frame has."""
    refused: list[str] = []
    (frames,) = read_frame_sets([paths], reading, progress, refused.append)
    nearest: dict[str, float] = {}
    shortest, contacts, kept = [], [], []
    for frame in counted(frames, "distances", total=len(frames), shown=progress):
        try:
            distance, ratio = _distances(frame, nearest)
        except ValueError as error:
            refused.append(str(error))
            continue
        kept.append(frame)
        shortest.append(distance)
        if ratio < CONTACT:
            contacts.append((ratio, frame))
    bound = [frame for frame in kept if not frame.is_isolated_atom]
    odd = [*check_frames(bound), *near_contacts(contacts), *net_forces(bound), *odd_works(bound)]
    return Survey(kept, refused, dict(sorted(nearest.items())), np.array(shortest), odd)


def near_contacts(contacts: Sequence[tuple[float, Frame]]) -> list[str]:
    """Frames with atoms too near to each other, the nearest first; numbers are parts of the sum of covalent radii."""
    if not contacts:
        return []
    ordered = sorted(contacts, key=lambda contact: contact[0])
    return [f"atoms as near as {ordered[0][0]:.2f} of the sum of their covalent radii: {names(f for _, f in ordered)}"]


def net_forces(frames: Sequence[Frame]) -> list[str]:
    """Frames whose forces do not sum to zero, by `NET_FORCE`: of constrained atoms left out, or not converged."""
    found = []
    for frame in frames:
        if frame.forces is not None and frame.forces_mask is None:
            error = float(np.linalg.norm(frame.forces.sum(axis=0)) / np.sqrt(3.0 * len(frame.numbers)))
            found.append((error, frame))
    odd = sorted((pair for pair in found if pair[0] > NET_FORCE), key=lambda pair: -pair[0])
    if not odd:
        return []
    return [
        f"{len(odd)} of {len(found)} frames have a net force, as if each component were wrong by up to "
        f"{1000.0 * odd[0][0]:.3g} meV/Å: {names(frame for _, frame in odd)}"
    ]


def described(found: Survey) -> dict[str, Any]:
    """All of it in plain values, units in the names."""
    frames = found.frames
    return {
        "n_frames": len(frames),
        "n_isolated_atoms": sum(frame.is_isolated_atom for frame in frames),
        "labels": {label: sum(label in frame.labels for frame in frames) for label in LABELS},
        "by": {by: counts(frames, by) for by in ("file", "composition", CONFIG_TYPE)},
        "ranges": ranges(found),
        "shortest_distances_A": found.nearest,
        "undetermined_species": undetermined(frames),
        "refused": found.refused,
        "odd": found.odd,
    }


def undetermined(frames: Sequence[Frame]) -> list[str]:
    """Species whose energies a training would have to guess: no isolated atom, and compositions that do not tell."""
    labelled = [frame for frame in frames if frame.energy is not None]
    isolated = {frame.symbols[0] for frame in labelled if frame.is_isolated_atom}
    bound = [frame for frame in labelled if not frame.is_isolated_atom]
    present = {symbol for frame in bound for symbol in frame.composition} - isolated
    return undetermined_species(bound, sorted(present, key=atomic_numbers.__getitem__))


def counts(frames: Sequence[Frame], by: str) -> dict[str, dict[str, int]]:
    """Frames, atoms and labels of each group, the largest groups first."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for frame in frames:
        groups[frame.group(by)].update({"frames": 1, "atoms": len(frame.numbers), **dict.fromkeys(frame.labels, 1)})
    ordered = sorted(groups.items(), key=lambda item: -item[1]["frames"])
    return {name: {key: group[key] for key in ("frames", "atoms", *LABELS)} for name, group in ordered}


def ranges(found: Survey) -> dict[str, dict[str, float]]:
    """Least, median and greatest of what can be measured, over frames that are no isolated atoms."""
    frames = [frame for frame in found.frames if not frame.is_isolated_atom]
    values = {name: [measured for frame in frames if (measured := take(frame)) is not None] for name, take in MEASURES}
    _, beside = energies_beside_composition(frames)
    values["energy_beside_composition_meV_per_atom"] = list(1000.0 * beside)
    values["shortest_distance_A"] = found.shortest[np.isfinite(found.shortest)].tolist()
    return {
        name: {"least": float(min(some)), "median": float(np.median(some)), "greatest": float(max(some))}
        for name, some in values.items()
        if some
    }


def _volume(frame: Frame) -> float | None:
    return None if frame.volume is None else frame.volume / frame.n_atoms


MEASURES: tuple[tuple[str, Callable[[Frame], float | None]], ...] = (
    ("atoms", lambda frame: float(len(frame.numbers))),
    ("energy_eV_per_atom", lambda frame: None if frame.energy is None else frame.energy / len(frame.numbers)),
    ("largest_force_eV_per_A", lambda frame: frame.largest_force),
    ("pressure_GPa", lambda frame: None if frame.stress is None else -float(np.trace(frame.stress)) / 3.0 / GPa),
    ("volume_A3_per_atom", _volume),
)
"""By name: of a frame, or None."""


def _distances(frame: Frame, nearest: dict[str, float]) -> tuple[float, float]:
    """Shortest distance in a frame (Å), and shortest over the sum of covalent radii; `nearest` is kept up to date."""
    found = shortest_of_pairs(frame.numbers, *edges_of(frame, NEAR))
    ratios = []
    for pair, length in found.items():
        name = "-".join(sorted(pair))
        nearest[name] = min(length, nearest.get(name, np.inf))
        ratios.append(length / sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair))
    return min(found.values(), default=np.nan), min(ratios, default=np.inf)
