"""Energies and gradients where atoms are displaced: what the terms of the loss are given of a model.

Letters: M members, B frames, N atoms of all frames together, S displaced copies of all frames.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Surface(NamedTuple):
    """Energies and their gradients where atoms are displaced; M is 1 where it is not a committee's."""

    energies: Tensor
    """[M, S, B], eV."""
    gradient: Tensor
    """[M, S, N, 3], eV/Å."""


Displaced = Callable[[Tensor], Surface]
"""From displacements [S, N, 3] (float64, CPU, Å) to the surface there, with the neighbours of displaced atoms."""
