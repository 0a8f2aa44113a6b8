"""How well a committee predicts the test frames: arrays for the figures, numbers for the tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mollifield_train.active.committee import Committee
from mollifield_train.active.store import label_of

Arrays = dict[str, NDArray[np.float64]]


def predict_frames(committee: Committee, frames: Sequence[Atoms]) -> Arrays:
    """Predictions and references of F labelled frames of N atoms each, in eV, eV/Å and eV/Å^3.

    ``stress`` and ``stress_reference`` ``[S, 6]`` (Voigt, in ASE's sign) are there for the frames whose label
    has one; the others are ``[F]`` or begin with ``[F, N]``.
    """
    labels = [label_of(atoms) for atoms in frames]
    missing = [index for index, label in enumerate(labels) if label is None]
    if missing:
        raise ValueError(f"test frame {missing[0]} has no energy or no forces")
    predictions = [committee.predict(atoms) for atoms in frames]
    stresses = [
        (prediction.stress, label.stress)
        for prediction, label in zip(predictions, labels, strict=True)
        if label.stress is not None and prediction.stress is not None
    ]
    arrays = {
        "energy": np.array([p.energy for p in predictions]),
        "energy_std": np.array([p.energy_std for p in predictions]),
        "forces": np.array([p.forces for p in predictions]),
        "forces_std": np.array([p.forces_std for p in predictions]),
        "energy_reference": np.array([label.energy for label in labels]),
        "forces_reference": np.array([label.forces for label in labels]),
    }
    if stresses:
        arrays["stress"], arrays["stress_reference"] = np.array(stresses).swapaxes(0, 1)
    return arrays


def summarise(arrays: Arrays) -> dict[str, float]:
    """Errors and standard deviations of ``predict_frames``, in the same units.

    The offset is the mean error of the energy per atom, which no force and no energy difference sees; the
    RMSE comes with and without it. The pressure's error has the sign of a pressure: minus a third of the
    trace of the stress.
    """
    reference = arrays["forces_reference"]
    energy_error = (arrays["energy"] - arrays["energy_reference"]) / reference.shape[1]
    scores = {
        "force_rmse": _rms(arrays["forces"] - reference),
        "energy_rmse_per_atom": _rms(energy_error),
        "energy_offset_per_atom": float(energy_error.mean()),
        "energy_rmse_per_atom_shifted": _rms(energy_error - energy_error.mean()),
        "mean_force_std": float(arrays["forces_std"].mean()),
        "max_force_std": float(arrays["forces_std"].max()),
    }
    if "stress" in arrays:
        error = arrays["stress"] - arrays["stress_reference"]
        scores["stress_rmse"] = _rms(error)
        scores["pressure_error"] = float(-error[:, :3].mean())
    return scores


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
