"""Energy against displacement and strain: do forces and stresses have the sign and the unit that energies tell of?

Between two frames of the same atoms, whose cells are h_1 and h_2 and whose atoms move by u beside the strain ε of the
cell, the energy changes by the work of forces and stress,

    E_2 - E_1 = 1/2 (V_1 σ_1 + V_2 σ_2) : ε - 1/2 (F_1 + F_2) · u,

exactly where the energy is quadratic (the trapezoidal rule), whatever the distance. Pairs are taken from frames
that follow each other in their file, or by their volume.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import GPa

from .frames import Frame
from .summary import Summary

STILL = 1e-3
"""Å. Atoms that move by less need no forces."""
FARTHEST = 0.5
"""Å. Atoms that move by more between two frames may have crossed a barrier."""
LARGEST_STRAIN = 0.15
UNSTRAINED = 1e-4
"""Cells that differ by less need no stress."""
TURNED = 0.01
"""Rotation of a cell (radians) above which forces of two frames are not in one frame of reference."""
LEAST_WORK = 1e-3
"""eV, of a pair that says something."""
N_LEAST = 5
"""Such pairs from which on something is said."""
CERTAIN = 6.0
"""A factor over its standard error: a frame is in several pairs, so that the errors are larger than they seem."""
N_ITERATIONS = 30
"""Of least squares with weights, for the least sum of absolute errors."""
N_OF_A_FILE = 10
"""Frames from which on a file is looked at by itself."""
LEAST_SLOPE = 0.15
"""Change of energy over work, below which and above whose inverse something is wrong. Published sets of silicon
(strained and thermal) and TiO2 have 1.00; a molecule at 300 to 1000 K, whose frames lie far apart, 0.80 to 0.97, and
copies of one that were shaken at random, along bonds too, 0.33 to 0.38. Wrong units are factors from 13.6 (Ry) on."""
N_PAIRS = 2000
"""Pairs that are looked at, spread evenly."""


@dataclass(frozen=True)
class Works:
    """Pairs of frames, n of them, and the factors a and b with which ΔE = a W_F + b W_σ fits them best: 1 and 1."""

    change: np.ndarray
    """[n], eV: of the energy."""
    work: dict[str, np.ndarray]
    """[n], eV: of the 'forces' and of the 'stress', as far as there is any."""
    slope: dict[str, float]
    """a and b, those of the works whose factor the pairs determine."""

    def beside(self, label: str) -> np.ndarray:
        """[n], eV: change of the energy that the other work does not account for."""
        others = [self.slope.get(other, 1.0) * work for other, work in self.work.items() if other != label]
        return self.change - np.sum(others, axis=0) if others else self.change


def works(frames: Sequence[Summary]) -> Works:
    """Pairs of frames, and how their energies go with the works of forces and stress."""
    pairs = list(_pairs(frames))
    chosen = np.linspace(0, len(pairs) - 1, min(N_PAIRS, len(pairs))).round().astype(int)
    rows = [row for k in chosen if (row := _works_of(*(frame.loaded() for frame in pairs[k]))) is not None]
    change, *columns = np.array(rows).reshape(-1, 3).T
    work = {
        label: column
        for label, column in zip(("forces", "stress"), columns, strict=True)
        if np.sum(np.abs(column) > LEAST_WORK) >= N_LEAST
    }
    return Works(change, work, _slopes(change, work))


def _slopes(change: np.ndarray, work: dict[str, np.ndarray]) -> dict[str, float]:
    """Factors of the least sum of absolute errors, those that are `CERTAIN` multiples of their standard error.

    Errors of the factors are those of weighted least squares with unequal variances (White, Econometrica 48, 817).
    """
    if not work:
        return {}
    columns = np.stack(list(work.values()), axis=1)
    scale = np.abs(columns).max(axis=0)
    columns = columns / scale
    weights = np.ones(len(change))
    for _ in range(N_ITERATIONS):
        normal = np.linalg.pinv(columns.T @ (weights[:, None] * columns))
        slopes = normal @ columns.T @ (weights * change)
        residuals = change - columns @ slopes
        weights = 1.0 / np.maximum(np.abs(residuals), 0.1 * LEAST_WORK)
    weighted = (weights * residuals)[:, None] * columns
    covariance = normal @ weighted.T @ weighted @ normal * (len(change) / max(1, len(change) - len(work)))
    errors = np.sqrt(np.diagonal(covariance))
    return {
        label: float(slope / size)
        for label, slope, error, size in zip(work, slopes, errors, scale, strict=True)
        if abs(slope) > CERTAIN * error
    }


def odd_works(frames: Sequence[Summary]) -> list[str]:
    """A line for each file, and its forces and stresses, that the energies contradict; small files are one."""
    files: dict[str, list[Summary]] = defaultdict(list)
    for frame in frames:
        files[frame.file].append(frame)
    small = [frame for found in files.values() if len(found) < N_OF_A_FILE for frame in found]
    groups = {name: found for name, found in files.items() if len(found) >= N_OF_A_FILE}
    name = f"{len(files) - len(groups)} small files" if len(files) - len(groups) > 1 else small[0].file if small else ""
    return [line for name, group in (groups | {name: small}).items() for line in _odd_works(group, name)]


def _odd_works(frames: Sequence[Summary], name: str) -> list[str]:
    found = works(frames)
    return [
        f"{label} and energies of {name} contradict each other: in {len(found.change)} pairs of frames the energy "
        f"changes by {slope:.3g} times the work of the {label}{_cause(label, slope)}"
        for label, slope in found.slope.items()
        if not LEAST_SLOPE < slope < 1.0 / LEAST_SLOPE
    ]


def _cause(label: str, slope: float) -> str:
    """What would explain a slope, where something does."""
    units = {"forces": {"": 1.0}, "stress": {"": 1.0, "in GPa": GPa, "in kbar": 0.1 * GPa, "in bar": 1e-4 * GPa}}
    sign = {"forces": "gradients in place of forces", "stress": "positive under compression"}
    for unit, factor in units[label].items():
        if LEAST_SLOPE < abs(slope) / factor < 1.0 / LEAST_SLOPE:
            said = " and ".join(filter(None, [unit, sign[label] if slope < 0.0 else ""]))
            return f", as if they were {said}" if label == "forces" else f", as if it were {said}"
    return ""


def _pairs(frames: Iterable[Summary]) -> Iterator[tuple[Summary, Summary]]:
    groups: dict[bytes, list[Summary]] = defaultdict(list)
    for frame in frames:
        if frame.energy is not None and not frame.is_isolated_atom:
            groups[frame.arrangement].append(frame)
    for group in groups.values():
        yield from itertools.pairwise(group)
        if group[0].volume is not None:
            yield from itertools.pairwise(sorted(group, key=lambda frame: frame.volume or 0.0))


def _works_of(first: Frame, second: Frame) -> tuple[float, float, float] | None:
    """Change of the energy, work of the forces and of the stress; None where the frames are too different."""
    assert first.energy is not None and second.energy is not None
    strain, displacement = np.zeros((3, 3)), second.positions - first.positions
    if first.pbc.any():
        mean = 0.5 * (first.cell + second.cell)
        if abs(np.linalg.det(mean)) < 1e-6:
            return None
        gradient = np.linalg.solve(mean, second.cell - first.cell)
        strain = 0.5 * (gradient + gradient.T)
        if np.abs(gradient - strain).max() > TURNED or np.abs(strain).max() > LARGEST_STRAIN:
            return None
        fractions = np.linalg.solve(second.cell.T, second.positions.T) - np.linalg.solve(
            first.cell.T, first.positions.T
        )
        fractions = fractions.T
        fractions[:, first.pbc] -= np.round(fractions[:, first.pbc])
        displacement = fractions @ mean
    displacement = displacement - displacement.mean(axis=0)
    farthest, forces = np.linalg.norm(displacement, axis=1).max(), 0.0
    masked = first.forces_mask is not None or second.forces_mask is not None
    if first.forces is not None and second.forces is not None and not masked:
        forces = -float(np.sum(0.5 * (first.forces + second.forces) * displacement))
    elif farthest > STILL:
        return None
    if farthest > FARTHEST:
        return None
    stress = 0.0
    if first.stress is None or second.stress is None:
        if np.abs(strain).max() > UNSTRAINED:
            return None
    else:
        volumes = [abs(float(np.linalg.det(frame.cell))) for frame in (first, second)]
        stress = float(np.sum(0.5 * (volumes[0] * first.stress + volumes[1] * second.stress) * strain))
    return second.energy - first.energy, forces, stress
