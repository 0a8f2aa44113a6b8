"""Batches that are chosen one frame at a time, each choice knowing those before it: numbers to indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .scene import Indices

Array = NDArray[np.float64]


def standardised(candidates: Array, known: Array) -> tuple[Array, Array]:
    """`candidates [n, d]` and `known [m, d]` about the mean of the known ones, in units of their spread.

    So distances are about sqrt(2) between two known frames. One known frame, or copies of one, have no spread: then
    that of all frames counts.
    """
    of = known if len(known) > 1 and np.ptp(known, axis=0).any() else np.concatenate([known, candidates])
    spread = np.sqrt(np.square(of - of.mean(axis=0)).sum(axis=1).mean()) if len(of) else 0.0
    centre = of.mean(axis=0) if len(of) else 0.0
    scale = spread if spread > 0.0 else 1.0
    return (candidates - centre) / scale, (known - centre) / scale


def gain_and_distance(gain: Array, candidates: Array, known: Array, weight: float, n: int) -> Indices:
    """Largest `gain [n_candidates]` + `weight` x distance to the nearest known or chosen frame; copies are left out.

    Rows of `candidates` and `known` as `standardised` gives them. With `weight` 0 these are the largest gains.
    """
    nearest = np.full(len(candidates), np.inf)
    for row in known:
        nearest = np.minimum(nearest, np.linalg.norm(candidates - row, axis=1))
    chosen: list[int] = []
    left = np.ones(len(candidates), dtype=bool)
    while len(chosen) < n:
        left &= nearest > 0.0
        if not left.any():
            break
        # Nothing known: every frame is equally far, and the gain decides.
        bonus = weight * np.where(np.isinf(nearest), 0.0, nearest)
        best = int(np.argmax(np.where(left, gain + bonus, -np.inf)))
        chosen.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(candidates - candidates[best], axis=1))
    return np.array(chosen, dtype=np.int64)


def log_det(candidates: Array, known: Array, noise: float, n: int) -> Indices:
    """The batch X that makes log det(1 + K_XX / noise^2) large, greedily, K the kernel of what `known` leave open.

    K(x, y) = phi_x^T P^-1 phi_y with the precision P = 1 + sum over known frames phi phi^T / noise^2 of a linear
    regression on the rows phi; each choice is the row of the largest K(x, x), after which it is known. That is the
    exact greedy maximum: det(1 + K/noise^2) of one row more is the product with 1 + K(x, x)/noise^2. Nothing is chosen
    twice. (Kirsch et al., BatchBALD, arXiv 1906.08158; Chen et al., Fast greedy MAP inference, arXiv 1709.05135.)
    """
    precision = np.eye(candidates.shape[1]) + known.T @ known / noise**2
    covariance = np.linalg.inv(precision)
    left = np.ones(len(candidates), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(n, len(candidates))):
        variance = np.einsum("nd,de,ne->n", candidates, covariance, candidates)
        best = int(np.argmax(np.where(left, variance, -np.inf)))
        chosen.append(best)
        left[best] = False
        moved = covariance @ candidates[best]
        covariance = covariance - np.outer(moved, moved) / (noise**2 + variance[best])
    return np.array(chosen, dtype=np.int64)


def largest_cluster(candidates: Array, known: Array, n: int) -> Indices:
    """Each choice is the farthest frame of the largest cluster, about what is known or chosen; copies are left out.

    Clusters are the candidates nearest to one known or chosen frame, their size the sum of squared distances to it
    (LCMD: Holzmueller et al., J. Mach. Learn. Res. 24, 164 (2023), which arXiv 2605.13788 takes for potentials).
    """
    chosen: list[int] = []
    centre = np.zeros(len(candidates), dtype=np.int64)
    nearest = np.full(len(candidates), np.inf)
    for index, row in enumerate(known):
        distance = np.linalg.norm(candidates - row, axis=1)
        centre[distance < nearest] = index
        nearest = np.minimum(nearest, distance)
    while len(chosen) < min(n, len(candidates)) and (nearest > 0.0).any():
        best = 0
        if np.isfinite(nearest).all():
            sizes = np.bincount(centre, weights=nearest**2)
            best = int(np.argmax(np.where(centre == int(np.argmax(sizes)), nearest, -1.0)))
        distance = np.linalg.norm(candidates - candidates[best], axis=1)
        centre[distance < nearest] = len(known) + len(chosen)
        nearest = np.minimum(nearest, distance)
        chosen.append(best)
    return np.array(chosen, dtype=np.int64)
