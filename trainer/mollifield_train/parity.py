"""Predicted against reference values: the same plot wherever there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def draw(
    axes: Any, reference: NDArray[np.float64], predicted: NDArray[np.float64], colour: str = "C0", ink: str = "black"
) -> None:
    """Points into matplotlib axes, and the line (`ink`) on which both agree.

    `axes`: of matplotlib; its labels are the caller's. `reference`: `[n]`, along x. `predicted`: `[n]`, in the same
    unit. `colour`: of the points. `ink`: of the line.
    """
    ends = [min(reference.min(), predicted.min()), max(reference.max(), predicted.max())]
    axes.plot(ends, ends, color=ink, linewidth=0.7, alpha=0.6)
    axes.scatter(reference, predicted, s=5, color=colour, alpha=0.45, linewidths=0, rasterized=True)
