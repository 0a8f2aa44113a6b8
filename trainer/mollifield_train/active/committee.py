"""What the loop asks of a committee, and how an exported one answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """A committee on one frame; std is the sample standard deviation over members."""

    energy: float
    """eV, mean."""
    energy_std: float
    """eV."""
    forces: Array
    """`[N, 3]` eV/Å, mean."""
    forces_std: Array
    """`[N]` eV/Å, square root of the trace of the 3x3 sample covariance."""
    features: Array
    """`[N, F]`: members' latent features side by side, as they have unrelated latent spaces, divided by sqrt(F), so
    that distances do not grow with the committee (`mollifield.uncertainty.latent_features`)."""
    stress: Array | None = None
    """`[6]` eV/Å^3, mean; Voigt, in ASE's sign. None without three periodic directions."""
    aleatoric_std: Array | None = None
    """`[N]` eV/Å, of a force label's noise, as the model file states it; None where it states none."""


class Committee(Protocol):
    """A trained committee."""

    species: list[int]
    """Atomic numbers that it knows, in its own order."""

    def predict(self, atoms: Atoms) -> Prediction: ...


LoadCommittee = Callable[[Path], Committee]


def mean_force_std(committee: Committee, frames: Sequence[Atoms]) -> float:
    """Force std in eV/Å, mean over atoms and frames (frames may differ in size, and are not isolated atoms)."""
    return float(np.concatenate([committee.predict(frame).forces_std for frame in frames]).mean())
