"""One vector a frame, from the committee's latent features."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ...data.labels import FORCES_MASK
from ..committee import Prediction

Averaged = Literal["mean", "species_mean"]


def labelled_atoms(atoms: Atoms) -> NDArray[np.int64]:
    """`[n]` atoms of a frame whose forces count: all but those in the buffer of a cluster."""
    mask = atoms.arrays.get(FORCES_MASK)
    return np.arange(len(atoms)) if mask is None else np.flatnonzero(mask)


def describe(atoms: Atoms, predicted: Prediction, species: list[int], averaged: Averaged) -> NDArray[np.float64]:
    """`frame_descriptor` of a frame as the committee sees it, over the atoms whose forces count."""
    among = labelled_atoms(atoms)
    return frame_descriptor(predicted.features[among], atoms.numbers[among], species, averaged)


def frame_descriptor(
    features: NDArray[np.float64], numbers: NDArray[np.integer[Any]], species: list[int], averaged: Averaged
) -> NDArray[np.float64]:
    """Average the latent features of a frame over atoms; invariant to permutation and rotation.

    `features`: `[N, F]`, see `committee.Prediction`. `numbers`: `[N]` atomic numbers. `species`: atomic numbers that
    the model knows, which fixes the order and the length. `averaged`: `mean` over all atoms, or `species_mean`: one
    mean for each species, concatenated (zeros for a species that is absent). Returns `[F]` or `[n_species * F]`.
    """
    if averaged == "mean":
        return features.mean(axis=0)
    groups = [features[np.asarray(numbers) == number] for number in species]
    return np.concatenate([group.mean(axis=0) if len(group) else np.zeros(features.shape[1]) for group in groups])
