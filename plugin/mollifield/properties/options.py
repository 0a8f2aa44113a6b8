"""Settings of a calculation: fields of a frozen dataclass that say what they mean, for `mollifield property` too."""

from collections.abc import Sequence
from dataclasses import field
from importlib.util import find_spec
from typing import Any

import numpy as np
from ase import Atoms

TEXT = "text"
"""Key of a field's meaning in its metadata."""
SYMMETRY_TOLERANCE = 1e-3
"""Å, for finding the symmetry of a crystal that was relaxed."""


def option(default: Any, text: str) -> Any:
    """A field with its default and a line that explains it, unit included."""
    return field(default=default, metadata={TEXT: text})


def require_positive(calculation: object, *names: str) -> None:
    """Raise `ValueError` that names a setting which is not above zero."""
    for name in names:
        if not getattr(calculation, name) > 0:
            raise ValueError(f"{name} = {getattr(calculation, name)}; allowed is more than 0")


def only_structure(structures: Sequence[Atoms], what: str) -> Atoms:
    """The one structure; raises `ValueError` for none or several."""
    if len(structures) != 1:
        raise ValueError(f"{len(structures)} structures; {what} needs one")
    return structures[0]


def only_crystal(structures: Sequence[Atoms], what: str) -> Atoms:
    """The one structure, which is periodic in three directions; raises `ValueError` otherwise."""
    atoms = only_structure(structures, what)
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise ValueError(f"pbc = {atoms.pbc.tolist()}, cell = {atoms.cell.tolist()}; {what} needs a periodic crystal")
    return atoms


def repeats(crystal: Atoms, size: float) -> tuple[int, int, int]:
    """How often the vectors of a cell are repeated to be at least `size` (Å) long."""
    first, second, third = (int(n) for n in np.ceil(size / crystal.cell.lengths() - 1e-6))
    return first, second, third


def require_installed(*modules: str) -> None:
    """Raise `ValueError` that says what to install where one of these is missing."""
    for module in modules:
        if find_spec(module) is None:
            raise ValueError(f"{module} is not installed; pip install 'mollifield[properties]' brings it")
