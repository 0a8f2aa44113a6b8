"""Energy, force and stress terms, one value a member.

Letters: M members, B frames, N atoms of all frames together, N_f atoms of frame f. Predictions come
in any float dtype, sums run in float64. `weights` [M, B] (bootstrap) multiplies the frames of each
member; None means 1.

The loss is, for each member,

    L = λ_E/B Σ_f (Ê_f - E_f)² + λ_F/B Σ_f 1/(3 N_f) Σ_{i in f} |F̂_i - F_i|² + λ_S/(9 B_S) Σ_s |σ̂_s - σ_s|²

with s over the B_S frames that have a stress. Where all frames have N atoms, the force term is
λ_F/(3BN) Σ |F̂ - F|².
"""

import torch
from torch import Tensor


def energy_term(predicted: Tensor, reference: Tensor, weights: Tensor | None = None) -> Tensor:
    """1/B Σ (Ê - E)²: predicted [M, B], reference [B], in eV -> [M] in eV²."""
    return _mean_over_frames((predicted.double() - reference.double()).square(), weights)


def force_term(
    predicted: Tensor,
    reference: Tensor,
    frame_of_atom: Tensor,
    n_atoms: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """1/B Σ_f 1/(3 N_f) Σ_i |F̂_i - F_i|²: predicted [M, N, 3], reference [N, 3] -> [M] in (eV/Å)²."""
    squares = (predicted.double() - reference.double()).square().sum(dim=-1)
    per_frame = sum_over_atoms(squares, frame_of_atom, len(n_atoms)) / (3.0 * n_atoms)
    return _mean_over_frames(per_frame, weights)


def stress_term(
    predicted: Tensor, reference: Tensor, has_stress: Tensor, weights: Tensor | None = None
) -> Tensor:
    """1/(9 B_S) Σ |σ̂ - σ|² over labelled frames: [M, B, 3, 3], [B, 3, 3], [B] bool -> [M].

    Zero where no frame of the batch has a stress.
    """
    squares = (predicted.double() - reference.double()).square().mean(dim=(-2, -1))
    squares = squares[:, has_stress]
    if squares.shape[1] == 0:
        return squares.sum(dim=1)
    return _mean_over_frames(squares, None if weights is None else weights[:, has_stress])


def sum_over_atoms(values: Tensor, frame_of_atom: Tensor, n_frames: int) -> Tensor:
    """Sum [M, N] over the atoms of each frame -> [M, n_frames]."""
    sums = torch.zeros(values.shape[0], n_frames, dtype=values.dtype, device=values.device)
    return sums.index_add(1, frame_of_atom, values)


def _mean_over_frames(per_frame: Tensor, weights: Tensor | None) -> Tensor:
    return (per_frame if weights is None else per_frame * weights).mean(dim=1)
