"""Fit the maps of a model file to labelled frames, and say what that changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mollifield import contract, load_artefact, uncertainty
from mollifield.artefact import Artefact, save_calibrated
from mollifield.calibration import Array, Calibration, by_species
from mollifield.potential import evaluate

from ..data.frames import Frame, Reading, read_frames
from ..evaluate import seen_frames
from ..progress import counted
from . import MAPS, CalibrationMap
from .conformal import conformal
from .floor import with_floor
from .quality import quality

TABLES = {
    "forces": (contract.FORCE_STD, contract.FORCE_FLOOR, contract.FORCE_INTERVAL),
    "energy": (contract.ENERGY_STD, contract.ENERGY_FLOOR, contract.ENERGY_INTERVAL),
}
"""Names of their tables in a file: the map, the floor, and the intervals."""

FLOORS = {"none": (), "forces": ("forces",), "all": tuple(TABLES)}
"""By name, the quantities whose stds get a floor."""
DEFAULT_FLOOR = "forces"
N_LEAST = 30
"""Errors of a species or of energies below which nothing of its own is fitted."""
N_TRUSTED = 50
"""Frames below which a calibration may follow single ones."""
LEVEL = 0.9
"""Of the intervals that are judged."""


class TooFewFramesError(ValueError):
    """There are not enough errors to fit anything to."""


@dataclass(frozen=True)
class Observed:
    """Raw stds of a model and the errors found with them, n values: eV/Å of atoms, or eV/atom of frames."""

    raw: Array
    """[n], > 0."""
    deviations: Array
    """[n, k]: of the mean from the label; 3 components of a force, 1 of an energy."""
    species: NDArray[np.int64]
    """[n], index into the model's species; 0 for energies."""
    frame: NDArray[np.int64]
    """[n], which frame."""
    squares: Array
    """[n]: squared relative latent distances, of energies the mean over atoms."""

    @property
    def errors(self) -> Array:
        """[n]: of a force its length, of an energy its size."""
        return np.linalg.norm(self.deviations, axis=1)

    def of(self, rows: NDArray[np.bool_]) -> "Observed":
        """Some of the values."""
        return Observed(self.raw[rows], self.deviations[rows], self.species[rows], self.frame[rows], self.squares[rows])


@dataclass(frozen=True)
class Tables:
    """What turns raw stds into calibrated ones."""

    knots: Array
    """[n_species, K, 2]."""
    floor: Array | None
    """[n_species, 1, 2]; None without one."""

    def stds(self, observed: Observed) -> Array:
        """Calibrated stds [n]."""
        found = by_species(self.knots, observed.raw, observed.species)
        if self.floor is None:
            return found
        return np.hypot(found, by_species(self.floor, observed.squares, observed.species))


@dataclass(frozen=True)
class Score:
    """How well stds fit errors, each half of the frames judged by what was fitted to the other."""

    stds: Array
    """[n], calibrated."""
    before: dict[str, float]
    """`quality` of the uncalibrated stds."""
    after: dict[str, float]
    """The same of the calibrated ones."""
    within_interval: float | None
    """Part of errors within the interval of `LEVEL`; None where there are too few frames for one."""

    def stated(self) -> dict[str, Any]:
        """For the summary of a file."""
        return {
            "n": len(self.stds),
            "before": self.before,
            "after": self.after,
            "within_interval": self.within_interval,
        }


@dataclass(frozen=True)
class Calibrated:
    """What a calibration found, by quantity: `forces`, and `energy` where there were enough."""

    n_frames: int
    scores: dict[str, Score]
    observed: dict[str, Observed]


def calibrate_file(
    model: str | Path,
    frames: str | Path | Sequence[str | Path],
    output: str | Path,
    kind: str = "factor",
    device: str = "cpu",
    reading: Reading | None = None,
    floor: str = DEFAULT_FLOOR,
) -> Calibrated:
    """Write `output`, the model with calibration tables fitted to labelled frames it was not trained on.

    Stds of what `floor` says (`FLOORS`) grow with the distance to the training data too (`floor.with_floor`), where the
    file states one.

    Scores are by two halves of the frames, of which each is judged by what was fitted to the other; the map of the
    file is fitted to both. Its intervals are conformal multiples of stds that were fitted to the other half
    (cross-conformal prediction; Vovk, Ann. Math. Artif. Intell. 74, 9 (2015)). Atoms outside of the training data do
    not count: what they get is no spread of the members. Raises ValueError for an unknown kind, a single member, too
    few frames, or frames that the model was trained on.
    """
    if kind not in MAPS:
        raise ValueError(f"calibration map '{kind}' isn't known; known are {', '.join(MAPS)}")
    if floor not in FLOORS:
        raise ValueError(f"calibration floor '{floor}' isn't known; known are {', '.join(FLOORS)}")
    artefact = load_artefact(model, device)
    uncertainty.require_committee(artefact.n_members)
    labelled = [frame for frame in read_frames(frames, reading) if not frame.is_isolated_atom]
    _refuse_trained(artefact, labelled)
    forces, energies = observe(artefact, labelled)
    if len(forces.raw) < 2 * N_LEAST:
        raise TooFewFramesError(
            f"{frames}: {len(forces.raw)} atoms with forces, inside of the training data, to calibrate with; "
            f"needed are {2 * N_LEAST}"
        )
    found = {"forces": forces} | ({"energy": energies} if len(energies.raw) >= 2 * N_LEAST else {})
    fit, scores = MAPS[kind], {}
    tables: dict[str, torch.Tensor | None] = {}
    for quantity, observed in found.items():
        n_rows = len(artefact.species) if quantity == "forces" else 1
        floored = quantity in FLOORS[floor]
        fitted = fit_tables(observed, fit, n_rows, floored)
        scores[quantity] = score(observed, fit, n_rows, floored)
        multiples = intervals(observed, scores[quantity].stds, n_rows)
        for name, values in zip(TABLES[quantity], (fitted.knots, fitted.floor, multiples), strict=True):
            tables[name] = None if values is None else torch.from_numpy(values)
    stated = {name: found.stated() for name, found in scores.items()}
    summary = artefact.summary | {"calibration": {"map": kind, "floor": floor, "frames": len(labelled)} | stated}
    save_calibrated(artefact, output, tables, summary)
    load_artefact(output)
    return Calibrated(len(labelled), scores, found)


def _refuse_trained(artefact: Artefact, frames: Sequence[Frame]) -> None:
    """Raise ValueError for frames that the file says its members, or their posterior, have seen."""
    known = seen_frames(artefact)
    found = [frame.origin for frame in frames if frame.content in known]
    if found:
        raise ValueError(
            f"{found[0]}: {artefact.path} was trained on it, and on {len(found) - 1} more of the {len(frames)} frames; "
            "errors on training frames are too small: give frames that it has not seen"
        )


def observe(artefact: Artefact, frames: Sequence[Frame]) -> tuple[Observed, Observed]:
    """Forces and energies of a committee on labelled frames, each as far as there are labels."""
    forces: list[Array] = []
    energies: list[Array] = []
    for number, frame in enumerate(counted(frames, "evaluating", total=len(frames))):
        out = evaluate(artefact, frame.symbols, frame.positions, frame.cell, frame.pbc, members=True)
        distance = uncertainty.relative_distance(artefact.latent_space, out.latent, out.types).cpu().numpy()
        inside = distance <= 1.0
        types = out.types.cpu().numpy()
        if frame.forces is not None:
            members = out.forces.cpu().numpy()
            raw = uncertainty.forces_std(uncertainty.forces_covariance(members))
            about = [raw, types, np.full(len(raw), number), distance**2]
            rows = np.column_stack([*about, members.mean(axis=0) - frame.forces])
            among = frame.labelled_atoms
            forces.append(rows[among][inside[among] & (raw[among] > 0.0)])
        determined = uncertainty.composition_std(artefact.undetermined_compositions, out.types) == 0.0
        if frame.energy is not None and inside.all() and determined:
            std = float(uncertainty.energy_std(out.energies.cpu().numpy()))
            error = float(out.energies.mean()) - frame.energy
            energies.append(np.array([[std / len(types), 0.0, number, np.mean(distance**2), error / len(types)]]))
    return _observed(forces, 3), _observed(energies, 1)


def fit_tables(observed: Observed, fit: CalibrationMap, n_species: int, floor: bool) -> Tables:
    """Of all species; one with less than `N_LEAST` errors gets those of all. No floor where distances are not known."""
    enough = _by_species(observed, n_species)
    if floor and observed.squares.any():
        both = [with_floor(rows.raw, rows.squares, rows.errors, fit) for rows in enough]
        found, floors = [knots for knots, _ in both], np.stack([knots for _, knots in both])
    else:
        found, floors = [fit(rows.raw, rows.errors) for rows in enough], None
    most = max(len(knots) for knots in found)
    return Tables(np.stack([_lengthened(knots, most) for knots in found]), floors)


def intervals(observed: Observed, stds: Array, n_species: int) -> Array:
    """Conformal knots `[n_species, K, 2]`, of `stds [n]` fitted to other frames, species as in `fit_tables`."""
    scored = replace(observed, raw=stds)
    found = [conformal(rows.errors / rows.raw, rows.frame) for rows in _by_species(scored, n_species)]
    fewest = min(len(knots) for knots in found)
    return np.stack([knots[:fewest] for knots in found])


def score(observed: Observed, fit: CalibrationMap, n_species: int, floor: bool) -> Score:
    """Half of the frames judged by what was fitted to the other half, and the other way round."""
    stds = np.empty_like(observed.raw)
    within: list[Array] = []
    halves = [observed.frame % 2 == half for half in (0, 1)]
    for judged in halves:
        stds[judged] = fit_tables(observed.of(~judged), fit, n_species, floor).stds(observed.of(judged))
    for judged in halves:
        knots = intervals(observed.of(~judged), stds[~judged], n_species)
        multiples = Calibration(force_interval=knots).multiples(LEVEL, observed.species[judged])
        if multiples is not None:
            within.append(observed.errors[judged] <= multiples * stds[judged])
    return Score(
        stds,
        quality(observed.raw, observed.deviations),
        quality(stds, observed.deviations),
        float(np.mean(np.concatenate(within))) if len(within) == len(halves) else None,
    )


def _by_species(observed: Observed, n_species: int) -> list[Observed]:
    """The values of each; all of them for a species with fewer than `N_LEAST`."""
    own = [observed.of(observed.species == species) for species in range(n_species)]
    return [rows if len(rows.raw) >= N_LEAST else observed for rows in own]


def _lengthened(knots: Array, n: int) -> Array:
    """The same function with further knots: beyond the last one it is proportional."""
    further = np.arange(2.0, 2.0 + n - len(knots))[:, None] * knots[-1]
    return np.concatenate([knots, further])


def _observed(rows: list[Array], n_components: int) -> Observed:
    found = np.concatenate([np.zeros((0, 4 + n_components)), *rows])
    species, frame = found[:, 1:3].astype(np.int64).T
    return Observed(found[:, 0], found[:, 4:], species, frame, found[:, 3])
