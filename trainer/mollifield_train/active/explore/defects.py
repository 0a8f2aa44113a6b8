"""Crystals with atoms missing, and their surfaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.build import surface
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from .config import ExplorerConfig
from .judged import Looked, judged, rattled
from .trajectory import Exploration, Task


class DefectsConfig(ExplorerConfig):
    """Supercells of a crystal without some of its atoms, then slabs of it."""

    kind: Literal["defects"] = "defects"
    n_frames: PositiveInt = 20
    """Frames of a trajectory, with vacancies and with surfaces by turns where there are both."""
    repeat: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 1, 1)
    """Cells of the start along each vector."""
    vacancies: NonNegativeInt = 1
    """Atoms that are taken out, drawn anew for each frame; 0 for none."""
    surfaces: list[tuple[int, int, int]] = Field(default_factory=list)
    """Miller indices of slabs, such as `[[1, 0, 0], [1, 1, 1]]`."""
    layers: PositiveInt = 3
    """Of a slab, as ASE counts them."""
    vacuum: PositiveFloat = 6.0
    """Å, on each side of a slab."""
    width: Annotated[float, Field(ge=0.0)] = 0.05
    """Å, std of a coordinate's random displacement."""

    def about(self) -> str:
        return "atoms are taken out of crystals, and crystals are cut"


def explore_defects(task: Task, settings: DefectsConfig) -> Exploration:
    """See `trajectory.Explorer`. Raises ValueError for a start that is no crystal, or too small."""
    n_atoms = len(task.start) * int(np.prod(settings.repeat))
    if not task.start.pbc.all():
        raise ValueError(
            f"explorer defects: a start with pbc = {task.start.pbc.tolist()}; allowed: three periodic directions"
        )
    if settings.vacancies >= n_atoms:
        raise ValueError(f"explorer defects: {settings.vacancies} of {n_atoms} atoms to be taken out; allowed: fewer")
    if not settings.vacancies and not settings.surfaces:
        raise ValueError("explorer defects: neither 'vacancies' nor 'surfaces' is asked for")
    return judged(_defective(task, settings), task, ("n_atoms",))


def _defective(task: Task, settings: DefectsConfig) -> Iterator[Looked]:
    rng = np.random.default_rng(task.seed)
    ways = ([None] if settings.vacancies else []) + [tuple(indices) for indices in settings.surfaces]
    for number in range(settings.n_frames):
        indices = ways[number % len(ways)]
        atoms = _holed(task.start, settings, rng) if indices is None else _slab(task.start, indices, settings)
        yield rattled(atoms, settings.width, rng), {"n_atoms": float(len(atoms))}


def _holed(start: Atoms, settings: DefectsConfig, rng: np.random.Generator) -> Atoms:
    atoms = start.repeat(settings.repeat)
    del atoms[rng.choice(len(atoms), size=settings.vacancies, replace=False)]
    return atoms


def _slab(start: Atoms, indices: tuple[int, ...], settings: DefectsConfig) -> Atoms:
    slab = surface(start, indices, settings.layers, vacuum=settings.vacuum, periodic=True)
    return slab.repeat((settings.repeat[0], settings.repeat[1], 1))
