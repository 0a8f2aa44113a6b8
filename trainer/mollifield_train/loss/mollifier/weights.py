"""How R of frames becomes a term of the loss: which frames, their mean, and its weight over the run."""

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from ..kernels import CompactKernel, GaussianKernel, Kernel

KERNELS: dict[str, Callable[[float], Kernel]] = {"gaussian": GaussianKernel, "compact": CompactKernel}


def mollifier_term(per_frame: Tensor, n_atoms: Tensor, sums: str) -> Tensor:
    """1/B Σ of R (`per_structure`) or of R/(3N) (`per_atom`): [M, B], [B] -> [M]."""
    if sums not in ("per_atom", "per_structure"):
        raise ValueError(f"sums '{sums}': allowed are per_atom, per_structure")
    return (per_frame if sums == "per_structure" else per_frame / (3.0 * n_atoms)).mean(dim=1)


def draw_frames(n_frames: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of a random part of a batch, at least one frame.

    The mean over the part estimates the mean over the batch without bias: it is the sum over the
    part scaled by B/b.
    """
    n_chosen = max(1, round(fraction * n_frames))
    return np.sort(rng.permutation(n_frames)[:n_chosen])


def scheduled_weight(schedule: str, weight: float, progress: float, until: float = 1.0) -> float:
    """λ_M at `progress` (0 to 1) of a run: constant, or falling to zero linearly or as a cosine; 0 after `until`."""
    part = min(progress, 1.0) / until
    if part > 1.0:
        return 0.0
    match schedule:
        case "constant":
            return weight
        case "linear":
            return weight * (1.0 - part)
        case "cosine":
            return weight * 0.5 * (1.0 + math.cos(math.pi * part))
    raise ValueError(f"schedule '{schedule}': allowed are constant, linear, cosine")
