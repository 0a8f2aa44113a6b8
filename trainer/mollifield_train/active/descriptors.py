"""One vector a frame, from the committee's latent features."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["mean", "species_mean"]


def frame_descriptor(
    latent: NDArray[np.floating], numbers: NDArray[np.integer], species: list[int], kind: Kind
) -> NDArray[np.float64]:
    """Average the latent features of a frame over atoms; invariant to permutation and rotation.

    Args:
        latent: ``[M, N, L]`` invariant features of each member. Members have unrelated latent
            spaces, so theirs are concatenated, not averaged.
        numbers: ``[N]`` atomic numbers.
        species: atomic numbers that the model knows, which fixes the order and the length.
        kind: ``mean`` over all atoms, or ``species_mean``: one mean for each species, concatenated
            (zeros for a species that is absent).

    Returns:
        ``[M * L]`` or ``[n_species * M * L]``, divided by sqrt(M) so that distances do not grow
        with the committee.
    """
    latent = np.asarray(latent, dtype=np.float64)
    n_members = latent.shape[0]
    if kind == "mean":
        parts = [latent.mean(axis=1).ravel()]
    else:
        parts = []
        for number in species:
            mask = np.asarray(numbers) == number
            rows = latent[:, mask].mean(axis=1) if mask.any() else np.zeros_like(latent[:, 0])
            parts.append(rows.ravel())
    return np.concatenate(parts) / np.sqrt(n_members)
