"""How well a committee predicts the test frames: arrays for the figures, numbers for the tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..metrics import energy_deviations, offset, rmse, rmse_without_offset
from ..oracle.labels import Label
from .committee import Committee
from .store import label_of

Arrays = dict[str, NDArray[np.float64]]


def predict_frames(committee: Committee, frames: Sequence[Atoms]) -> Arrays:
    """Predictions and references of F labelled frames of any size, in eV, eV/Å and eV/Å^3.

    `n_atoms` and energies are `[F]`; forces `[A, 3]` and their std `[A]` have the A atoms of all frames one
    after another. `stress` and `stress_reference` `[S, 6]` (Voigt, in ASE's sign) are there for the frames whose
    label has one.
    """
    labels: list[Label] = []
    for index, atoms in enumerate(frames):
        label = label_of(atoms)
        if label is None:
            raise ValueError(f"test frame {index} has no energy or no forces")
        labels.append(label)
    predictions = [committee.predict(atoms) for atoms in frames]
    stresses = [
        (prediction.stress, label.stress)
        for prediction, label in zip(predictions, labels, strict=True)
        if label.stress is not None and prediction.stress is not None
    ]
    arrays = {
        "n_atoms": np.array([len(atoms) for atoms in frames]),
        "energy": np.array([p.energy for p in predictions]),
        "energy_std": np.array([p.energy_std for p in predictions]),
        "forces": np.concatenate([p.forces for p in predictions]),
        "forces_std": np.concatenate([p.forces_std for p in predictions]),
        "energy_reference": np.array([label.energy for label in labels]),
        "forces_reference": np.concatenate([label.forces for label in labels]),
    }
    if stresses:
        arrays["stress"], arrays["stress_reference"] = np.array(stresses).swapaxes(0, 1)
    return arrays


def force_rmse_by(arrays: Arrays, names: Sequence[str]) -> dict[str, float]:
    """Force RMSE (eV/Å) of `predict_frames` over the frames of each name; `names`: F."""
    of_atom = np.repeat(np.array(names), arrays["n_atoms"].astype(int))
    deviations = arrays["forces"] - arrays["forces_reference"]
    return {name: rmse(deviations[of_atom == name]) for name in dict.fromkeys(names)}


def summarise(arrays: Arrays) -> dict[str, float]:
    """Errors and standard deviations of `predict_frames`, in the same units.

    The offset is the mean error of the energy per atom, which no force and no energy difference sees; the
    RMSE comes with and without it. The pressure's error has the sign of a pressure: minus a third of the
    trace of the stress.
    """
    energy = energy_deviations(arrays["energy"], arrays["energy_reference"], arrays["n_atoms"])
    scores = {
        "force_rmse": rmse(arrays["forces"] - arrays["forces_reference"]),
        "energy_rmse_per_atom": rmse(energy),
        "energy_offset_per_atom": offset(energy),
        "energy_rmse_per_atom_shifted": rmse_without_offset(energy),
        "mean_force_std": float(arrays["forces_std"].mean()),
        "max_force_std": float(arrays["forces_std"].max()),
    }
    if "stress" in arrays:
        deviations = arrays["stress"] - arrays["stress_reference"]
        scores["stress_rmse"] = rmse(deviations)
        scores["pressure_error"] = -offset(deviations[:, :3])
    return scores
