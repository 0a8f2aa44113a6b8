"""Measures of error, one of each: of predictions against labels, for training, evaluation and the loop.

Deviations are prediction minus label, in eV an atom, eV/Å and eV/Å^3. Root mean squares and means of forces and stress
are over components. Imports no torch, for which some processes of the loop have no use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .data.frames import Frame

if TYPE_CHECKING:
    from torch import Tensor

MILLI = 1000.0
UNITS = {"energy": "mev_per_atom", "forces": "mev_per_A", "stress": "mev_per_A3"}
"""Of tables, by quantity."""
Array = TypeVar("Array", np.ndarray, "Tensor")


def key_of(quantity: str, measure: str) -> str:
    """'forces_rmse_mev_per_A': what a measure is called in tables, with its unit."""
    return f"{quantity}_{measure}_{UNITS[quantity]}"


def energy_deviations(predicted: Array, labels: Array, n_atoms: Array) -> Array:
    """Total energies (eV) -> deviations an atom; frames are the last dimension."""
    return (predicted - labels) / n_atoms


def rmse(deviations: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(deviations))))


def mae(deviations: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(deviations)))


def offset(deviations: np.ndarray) -> float:
    """Mean error, which no difference sees."""
    return float(np.mean(deviations))


def rmse_without_offset(deviations: np.ndarray) -> float:
    """Root mean square about the mean."""
    return float(np.std(deviations))


def stated(variances: np.ndarray) -> float:
    """The std that goes with predictions, as root mean square: equals their RMSE where it is calibrated."""
    return float(np.sqrt(np.mean(variances)))


def ratio(errors: np.ndarray, stds: np.ndarray) -> float:
    """Root mean square of error / std: 1 where the stds are right."""
    return rmse(errors / stds)


def coverage(errors: np.ndarray, stds: np.ndarray) -> float:
    """Fraction of errors below their std; of normal errors 0.68, of the lengths of normal vectors 0.61."""
    return float(np.mean(errors < stds))


@dataclass(frozen=True)
class FrameErrors:
    """One frame, predicted and labelled; M members, N atoms; eV, eV/Å, eV/Å^3."""

    energies: np.ndarray
    """[M], eV."""
    forces: np.ndarray
    """[M, N, 3]."""
    stress: np.ndarray | None
    """[M, 3, 3]; None where the frame has no stress label."""
    frame: Frame
    energy_std: float | None = None
    """eV; as the engines state it for an exported model, of the members as they are in training. None: one member."""
    forces_variance: np.ndarray | None = None
    """[N, 3], (eV/Å)^2: the diagonals of the atoms' covariances, likewise."""
    outside: np.ndarray | None = None
    """[N], bool: which atoms an exported model says are outside of its training data."""
    energy_outside: bool = False
    """Likewise; also where the training does not determine the energy of the composition."""

    def deviations(self, quantity: str) -> np.ndarray | None:
        """Of 'energy' [M, 1], 'forces' [M, 3n], n atoms whose forces count, or 'stress' [M, 9]; None: no such label."""
        predicted, label = getattr(self, {"energy": "energies"}.get(quantity, quantity)), getattr(self.frame, quantity)
        if predicted is None or label is None:
            return None
        if quantity == "energy":
            return energy_deviations(predicted[:, None], np.array(label), np.array(self.n_atoms))
        deviations = predicted - label
        if quantity == "forces":
            deviations = deviations[:, self.frame.labelled_atoms]
        return deviations.reshape(len(predicted), -1)

    def stated_variances(self, quantity: str) -> np.ndarray | None:
        """What the model states for them, flat; None where it states nothing, or there is no label."""
        if quantity == "stress":  # which no engine states: the members' own
            deviations = self.deviations(quantity)
            many = deviations is not None and len(deviations) > 1
            return deviations.var(axis=0, ddof=1) if deviations is not None and many else None
        if getattr(self.frame, quantity) is None:
            return None
        if quantity == "forces":
            return None if self.forces_variance is None else self.forces_variance[self.frame.labelled_atoms].ravel()
        return None if self.energy_std is None else np.array([self.energy_std / self.n_atoms]) ** 2

    @property
    def n_atoms(self) -> int:
        """Number of atoms N."""
        return len(self.frame.numbers)


def error_summary(frames: Iterable[FrameErrors]) -> dict[str, float]:
    """Root-mean-square and mean absolute errors, in meV/atom, meV/Å and meV/Å^3.

    `*_rmse`, `*_mae`: of the mean over members. `*_rmse_members`: of single members. `*_std`: root
    mean square of the std that goes with the mean, which equals its RMSE where that is calibrated
    (of stress: of the members' sample std); only for two members or more. A label that no frame has is left out.
    """
    sums: dict[str, _Sums] = defaultdict(_Sums)
    for frame in frames:
        for quantity in UNITS:
            deviations = frame.deviations(quantity)
            if deviations is not None:
                sums[quantity].add(deviations, frame.stated_variances(quantity))
    return {
        key_of(quantity, measure): MILLI * value
        for quantity in UNITS
        if quantity in sums
        for measure, value in sums[quantity].measures().items()
    }


class _Sums:
    """What is left of the deviations of one quantity, frame by frame."""

    def __init__(self) -> None:
        self._n = self._n_members = self._n_stated = 0
        self._squares = self._absolute = self._of_members = self._variances = 0.0

    def add(self, deviations: np.ndarray, variances: np.ndarray | None) -> None:
        """Of a frame: [M, n], and what the model states for them."""
        mean = deviations.mean(axis=0)
        self._n += mean.size
        self._squares += float(np.square(mean).sum())
        self._absolute += float(np.abs(mean).sum())
        self._n_members += deviations.size
        self._of_members += float(np.square(deviations).sum())
        if variances is not None:
            self._n_stated += variances.size
            self._variances += float(variances.sum())

    def measures(self) -> dict[str, float]:
        """As in `error_summary`, in eV and Å."""
        found = {
            "rmse": float(np.sqrt(self._squares / self._n)),
            "mae": self._absolute / self._n,
            "rmse_members": float(np.sqrt(self._of_members / self._n_members)),
        }
        return found | ({"std": float(np.sqrt(self._variances / self._n_stated))} if self._n_stated else {})
