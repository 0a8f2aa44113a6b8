"""Nudged elastic bands between two states, on the way to their minimum energy path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.mep import NEB
from ase.optimize import FIRE
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from ...images import read_images
from .config import ExplorerConfig
from .judged import Looked, judged, rattled
from .trajectory import Exploration, Task


class BandConfig(ExplorerConfig):
    """Images of a climbing band between two given states, relaxed with the newest model."""

    kind: Literal["band"] = "band"
    ends: Path
    """A file whose first and last frame are the two states: the same atoms in the same order."""
    n_images: Annotated[int, Field(ge=3)] = 7
    """With the ends."""
    n_steps: NonNegativeInt = 50
    """Of the optimiser, at most."""
    every: PositiveInt = 10
    """Steps between two looks at all images."""
    force: PositiveFloat = 0.05
    """eV/Å: the band is at rest below this."""
    width: Annotated[float, Field(ge=0.0)] = 0.02
    """Å, std of a coordinate's random displacement of the inner images at the start, so that bands differ."""

    def about(self) -> str:
        return f"bands of {self.n_images} images are relaxed between the ends in {self.ends.name}"


def explore_band(task: Task, settings: BandConfig) -> Exploration:
    """See `trajectory.Explorer`. Raises ValueError: the file cannot be read, or its ends have other atoms."""
    states = read_images(settings.ends, "explorer band: ")
    first, last = states[0], states[-1]
    if len(states) < 2 or first.numbers.tolist() != last.numbers.tolist():
        raise ValueError(
            f"explorer band: {settings.ends}: {len(states)} frame(s), {first.symbols} first and {last.symbols} last; "
            "allowed: two states of the same atoms in the same order"
        )
    return judged(_images(first, last, task, settings), task, ("image",))


def _images(first: Atoms, last: Atoms, task: Task, settings: BandConfig) -> Iterator[Looked]:
    from mollifield import MollifieldCalculator

    rng = np.random.default_rng(task.seed)
    calculator = MollifieldCalculator(task.model, device=task.device)
    images = [first.copy() for _ in range(settings.n_images - 1)] + [last.copy()]
    band = NEB(images, climb=True, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate(method="idpp", mic=bool(first.pbc.any()))
    images[1:-1] = [rattled(image, settings.width, rng) for image in images[1:-1]]
    band = NEB(images, climb=True, allow_shared_calculator=True, method="improvedtangent")
    for image in images:
        image.calc = calculator
    yield from _numbered(images)
    optimiser = FIRE(band, logfile=None)
    for done in range(0, settings.n_steps, settings.every):
        try:
            at_rest = optimiser.run(fmax=settings.force, steps=done + settings.every)
        except ValueError:  # the model met a geometry that it cannot evaluate
            return
        yield from _numbered(images[1:-1], first=1)
        if at_rest:
            return


def _numbered(images: list[Atoms], first: int = 0) -> Iterator[Looked]:
    for number, image in enumerate(images, start=first):
        yield image.copy(), {"image": float(number)}
