"""Which of the candidate frames to label: pure functions from numbers to indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def most_uncertain(std: NDArray[np.float64], n_batch: int) -> Indices:
    """Indices of the ``n_batch`` largest values of ``std[n]`` (eV/Å), largest first.

    Equal values keep their order, so a restarted run chooses the same frames.
    """
    return np.argsort(-np.asarray(std), kind="stable")[:n_batch].astype(np.int64)


def random_choice(n_frames: int, n_batch: int, rng: np.random.Generator) -> Indices:
    """``n_batch`` different indices below ``n_frames`` (all of them if there are fewer), sorted."""
    size = min(n_batch, n_frames)
    return np.sort(rng.choice(n_frames, size=size, replace=False)).astype(np.int64)


def farthest_points(
    descriptors: NDArray[np.float64], n_batch: int, known: NDArray[np.float64] | None = None, first: int = 0
) -> Indices:
    """Farthest-point sampling: each choice is the frame farthest from all known and chosen ones.

    Args:
        descriptors: ``[n, d]``, one row a frame; distances are Euclidean.
        n_batch: how many to choose at most. Copies of known or chosen frames are never chosen.
        known: ``[m, d]`` rows of the frames already labelled.
        first: the first choice where there are no known frames.

    Gonzalez, Theor. Comput. Sci. 38, 293 (1985).
    """
    descriptors = np.asarray(descriptors, dtype=np.float64)
    n_frames = len(descriptors)
    chosen: list[int] = []
    if n_frames == 0 or n_batch <= 0:
        return np.array(chosen, dtype=np.int64)
    nearest = np.full(n_frames, np.inf)
    for row in [] if known is None else known:
        nearest = np.minimum(nearest, np.linalg.norm(descriptors - row, axis=1))
    while len(chosen) < min(n_batch, n_frames):
        best = first if np.isinf(nearest).all() else int(np.argmax(nearest))
        if nearest[best] == 0.0:
            break
        chosen.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(descriptors - descriptors[best], axis=1))
        nearest[best] = 0.0
    return np.array(chosen, dtype=np.int64)


def uncertain_then_diverse(
    std: NDArray[np.float64],
    descriptors: NDArray[np.float64],
    n_batch: int,
    known: NDArray[np.float64] | None = None,
    pool_factor: float = 3.0,
) -> Indices:
    """Keep the ``pool_factor * n_batch`` most uncertain frames, then spread the batch over them.

    Uncertainty alone picks neighbours in time that teach the same thing; diversity alone picks
    frames the model knows. Arguments as in ``most_uncertain`` and ``farthest_points``.
    """
    pool = most_uncertain(std, max(n_batch, round(pool_factor * n_batch)))
    return pool[farthest_points(np.asarray(descriptors)[pool], n_batch, known)]
