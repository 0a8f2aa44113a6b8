"""What pictures of properties share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..calibration import Array

MEAN, MEMBER = "#c2571a", "#4a7fb5"


def band(axes: Any, x: Array, mean: Array, members: Sequence[Array], label: str | None = "mean potential") -> None:
    """A line of the mean, and thin ones of the members behind it."""
    for k, member in enumerate(members):
        axes.plot(x, member, color=MEMBER, linewidth=0.6, alpha=0.6, label="members" if label and k == 0 else None)
    axes.plot(x, mean, color=MEAN, linewidth=1.4, label=label)
    if label:
        axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def bars(axes: Any, names: Sequence[str], values: Sequence[float], intervals: Sequence[float] | None) -> None:
    """A bar a number, with its interval."""
    axes.bar(np.arange(len(names)), values, 0.6, yerr=intervals, color=MEMBER, ecolor=MEAN, capsize=3)
    axes.set_xticks(np.arange(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.axhline(0.0, color="black", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
