"""Fit the maps of a model file to labelled frames, and say what that changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mollifield import contract, load_artefact, uncertainty
from mollifield.artefact import Artefact, read_posterior, read_trained, save_calibrated
from mollifield.calibration import Array, Calibration
from mollifield.potential import evaluate

from ..data.frames import Frame, Reading, read_frames
from ..metrics import coverage, ratio
from ..progress import counted
from . import MAPS, CalibrationMap

N_LEAST = 30
"""Errors of a species or of energies below which nothing of its own is fitted."""


@dataclass(frozen=True)
class Observed:
    """Raw stds of a model and the errors found with them, n values: eV/Å of atoms, or eV/atom of frames."""

    raw: Array
    """[n], > 0."""
    errors: Array
    """[n]: of the mean's force, its length; of the energy, its size."""
    species: NDArray[np.int64]
    """[n], index into the model's species; 0 for energies."""
    frame: NDArray[np.int64]
    """[n], which frame."""

    def of(self, rows: NDArray[np.bool_]) -> "Observed":
        """Some of the values."""
        return Observed(self.raw[rows], self.errors[rows], self.species[rows], self.frame[rows])


@dataclass(frozen=True)
class Score:
    """How well stds fit errors."""

    n: int
    """Values."""
    before: float
    """Root mean square of error / std, uncalibrated; 1 would be right."""
    after: float
    """The same with knots that were fitted to the other half of the frames."""
    within: float
    """Fraction of errors below the std after; of normal errors 0.68 for energies, 0.61 for the lengths of forces."""


def calibrate_file(
    model: str | Path,
    frames: str | Path | Sequence[str | Path],
    output: str | Path,
    kind: str = "factor",
    device: str = "cpu",
    reading: Reading | None = None,
) -> dict[str, Score]:
    """Write `output`, the model with calibration tables fitted to labelled frames it was not trained on.

    Returns a score for each quantity, by two halves of the frames of which each is judged by what was fitted to the
    other; the tables of the file are fitted to both. Atoms outside of the training data do not count: what they get
    is no spread of the members. Raises ValueError for an unknown kind, a single member, too few frames, and frames that
    the file says its members, or their posterior, have seen.
    """
    if kind not in MAPS:
        raise ValueError(f"calibration map '{kind}' isn't known; known are {', '.join(MAPS)}")
    artefact = load_artefact(model, device)
    uncertainty.require_committee(artefact.n_members)
    labelled = [frame for frame in read_frames(frames, reading) if not frame.is_isolated_atom]
    _require_unseen(artefact, labelled)
    forces, energies = observe(artefact, labelled)
    if len(forces.raw) < 2 * N_LEAST:
        raise ValueError(f"{frames}: {len(forces.raw)} atoms with forces to calibrate with; needed are {2 * N_LEAST}")
    fit, n_species = MAPS[kind], len(artefact.species)
    tables = {contract.FORCE_STD: torch.from_numpy(table(forces, fit, n_species))}
    scores = {"forces": score(forces, fit, n_species)}
    if len(energies.raw) >= 2 * N_LEAST:
        tables[contract.ENERGY_STD] = torch.from_numpy(table(energies, fit, 1))
        scores["energy"] = score(energies, fit, 1)
    stated = {"map": kind, "frames": len(labelled), **{name: vars(found) for name, found in scores.items()}}
    save_calibrated(artefact, output, tables, artefact.summary | {"calibration": stated})
    load_artefact(output)
    return scores


def _require_unseen(artefact: Artefact, frames: Sequence[Frame]) -> None:
    kept = (read_trained(artefact), "trained_on"), (read_posterior(artefact), "frames")
    seen = {key for found, name in kept if found is not None for key in found[0].get(name, [])}
    for frame in frames:
        if frame.content in seen:
            raise ValueError(
                f"{frame.origin}: {artefact.path} was trained on it; errors there are no measure of others"
            )


def observe(artefact: Artefact, frames: Sequence[Frame]) -> tuple[Observed, Observed]:
    """Forces and energies of a committee on labelled frames, each as far as there are labels."""
    forces: list[Array] = []
    energies: list[Array] = []
    for number, frame in enumerate(counted(frames, "evaluating", total=len(frames))):
        out = evaluate(artefact, frame.symbols, frame.positions, frame.cell, frame.pbc, members=True)
        inside = uncertainty.outside_std(artefact.latent_space, out.latent, out.types).cpu().numpy() == 0.0
        types = out.types.cpu().numpy()
        if frame.forces is not None:
            members = out.forces.cpu().numpy()
            raw = uncertainty.forces_std(uncertainty.forces_covariance(members))
            errors = np.linalg.norm(members.mean(axis=0) - frame.forces, axis=1)
            rows = np.stack([raw, errors, types, np.full(len(raw), number)], axis=1)
            forces.append(rows[inside & (raw > 0.0)])
        if frame.energy is not None and inside.all():
            std = float(uncertainty.energy_std(out.energies.cpu().numpy()))
            error = abs(float(out.energies.mean()) - frame.energy)
            energies.append(np.array([[std / len(types), error / len(types), 0.0, number]]))
    return _observed(forces), _observed(energies)


def table(observed: Observed, fit: CalibrationMap, n_species: int) -> Array:
    """Knots `[n_species, K, 2]`; a species with less than `N_LEAST` errors gets those of all."""
    found = []
    for species in range(n_species):
        own = observed.of(observed.species == species)
        enough = own if len(own.raw) >= N_LEAST else observed
        found.append(fit(enough.raw, enough.errors))
    most = max(len(knots) for knots in found)
    return np.stack([_lengthened(knots, most) for knots in found])


def score(observed: Observed, fit: CalibrationMap, n_species: int) -> Score:
    """Half of the frames judged by what was fitted to the other half, and the other way round."""
    stds = np.empty_like(observed.raw)
    for half in (0, 1):
        judged = observed.frame % 2 == half
        knots = table(observed.of(~judged), fit, n_species)
        stds[judged] = Calibration(force_knots=knots).force_std(observed.raw[judged], observed.species[judged])
    errors = observed.errors
    return Score(len(errors), ratio(errors, observed.raw), ratio(errors, stds), coverage(errors, stds))


def _lengthened(knots: Array, n: int) -> Array:
    """The same function with further knots: beyond the last one it is proportional."""
    further = np.arange(2.0, 2.0 + n - len(knots))[:, None] * knots[-1]
    return np.concatenate([knots, further])


def _observed(rows: list[Array]) -> Observed:
    raw, errors, species, frame = np.concatenate([np.zeros((0, 4)), *rows]).T
    return Observed(raw, errors, species.astype(np.int64), frame.astype(np.int64))
