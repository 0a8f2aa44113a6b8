"""Noise of the labels, told from the residuals of a trained model; a file for each kind, and a line in the table."""

from collections.abc import Callable
from dataclasses import dataclass

from ...model.noise_head import NoiseHead
from ..last_layer import Noise
from .head import fit_head
from .homoscedastic import homoscedastic
from .residuals import Residuals


@dataclass(frozen=True)
class Fitted:
    """What a kind found."""

    noise: Noise
    """One number for energies, one for the forces on each species: all that a file without a head says."""
    head: NoiseHead | None


def _with_head(residuals: Residuals, seed: int) -> Fitted:
    noise = homoscedastic(residuals)
    return Fitted(noise, fit_head(residuals, noise, seed))


Fit = Callable[[Residuals, int], Fitted]
"""`(residuals, seed) -> Fitted`."""

KINDS: dict[str, Fit] = {
    "homoscedastic": lambda residuals, seed: Fitted(homoscedastic(residuals), None),
    "head": _with_head,
}
"""By name."""
