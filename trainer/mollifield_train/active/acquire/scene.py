"""What an acquisition sees of a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..committee import Committee, Prediction
from .descriptors import Averaged, describe

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """The n candidates of a round, in the order of trajectories and steps, and what may be asked about them.

    What costs a model's evaluation is computed where it is asked for.
    """

    frames: Sequence[Atoms]
    std: NDArray[np.float64]
    """`[n]` largest force std of an atom, eV/Å, by the committee that found the frame."""
    above: NDArray[np.bool_]
    """`[n]` saved for being above the round's threshold; the others were saved at regular intervals."""
    known: Sequence[Atoms]
    """Frames that the arm has labels of, isolated atoms left out."""
    committee: Committee
    """Trained on them, but for those for validation."""
    validation: Sequence[Atoms] = ()
    """Those of them."""
    _predicted: dict[int, Prediction] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Of candidates that were asked for."""

    def __len__(self) -> int:
        return len(self.frames)

    def predictions(self, indices: Indices) -> list[Prediction]:
        """Of the committee, for some of the candidates."""
        for index in map(int, indices):
            if index not in self._predicted:
                self._predicted[index] = self.committee.predict(self.frames[index])
        return [self._predicted[index] for index in map(int, indices)]

    def descriptors(self, indices: Indices, averaged: Averaged) -> NDArray[np.float64]:
        """`[len(indices), d]`, see `descriptors.frame_descriptor`."""
        frames = [self.frames[index] for index in indices]
        return self._describe(frames, self.predictions(indices), averaged)

    def known_descriptors(self, averaged: Averaged) -> NDArray[np.float64]:
        """`[m, d]`, likewise."""
        return self._describe(self.known, [self.committee.predict(atoms) for atoms in self.known], averaged)

    def _describe(
        self, frames: Sequence[Atoms], predictions: Sequence[Prediction], averaged: Averaged
    ) -> NDArray[np.float64]:
        rows = [
            describe(atoms, predicted, self.committee.species, averaged)
            for atoms, predicted in zip(frames, predictions, strict=True)
        ]
        return np.array(rows)


class Choose(Protocol):
    """An acquisition: at most `n` different indices into `scene`, in the order of preference.

    The same scene and state of `rng` give the same choice, so that a restarted run goes on as it was. Fewer than
    `n` ask for another trajectory.
    """

    def __call__(self, scene: Scene, n: int, rng: np.random.Generator) -> Indices: ...
