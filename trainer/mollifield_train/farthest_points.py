"""Points that cover a cloud of them: each is the one farthest from all before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def farthest_points(
    points: NDArray[np.float64], known: NDArray[np.float64] | None = None, first: int = 0
) -> Iterator[tuple[int, float]]:
    """Indices of `points` `[n, d]`, farthest first, each with its distance to all before it.

    Distances are Euclidean. Copies have a distance of 0; what comes after the first of them says nothing.

    `points`: `[n, d]`; none give an empty iterator. `known`: `[m, d]`: points that lie there before any is chosen.
    `first`: where it begins if nothing is known; that one's distance is infinite.

    Gonzalez, Theor. Comput. Sci. 38, 293 (1985).
    """
    nearest = np.full(len(points), np.inf)
    for row in () if known is None else known:
        nearest = np.minimum(nearest, np.linalg.norm(points - row, axis=1))
    for _ in range(len(points)):
        best = first if np.isinf(nearest).all() else int(np.argmax(nearest))
        yield best, float(nearest[best])
        nearest = np.minimum(nearest, np.linalg.norm(points - points[best], axis=1))
        nearest[best] = 0.0
