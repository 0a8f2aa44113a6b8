"""Energy, force and stress terms, one value a member.

Letters: M members, B frames, N atoms of all frames together, N_f atoms of frame f. Predictions come
in any float dtype, sums run in float64. `weights` [M, B] (bootstrap) multiplies the frames of each
member; None means 1. `labelled` [B] (bool) tells which frames have the label; None means all.

The loss is, for each member,

    L = λ_E/B_E Σ_f (Ê_f - E_f)² + λ_F/B_F Σ_f 1/(3 N_f) Σ_{i in f} |F̂_i - F_i|² + λ_S/(9 B_S) Σ_f |s_f (σ̂_f - σ_f)|²

each sum over those frames of the batch that have the label, B_E, B_F and B_S of them. Where not all forces of a frame
count (`counted` [N], bool), N_f and the sum over i are of those that do. Where all B frames have it and
N atoms, the force term is λ_F/(3BN) Σ |F̂ - F|². s_f is 1, or V_f/N_f, which makes a virial an atom of the stress.
"""

import torch
from torch import Tensor


def energy_term(
    predicted: Tensor, reference: Tensor, weights: Tensor | None = None, labelled: Tensor | None = None
) -> Tensor:
    """1/B_E Σ (Ê - E)²: predicted [M, B], reference [B], in eV -> [M] in eV²; zero without a label."""
    return mean_over_frames((predicted.double() - reference.double()).square(), weights, labelled)


def force_term(
    predicted: Tensor,
    reference: Tensor,
    frame_of_atom: Tensor,
    n_atoms: Tensor,
    weights: Tensor | None = None,
    labelled: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """1/B_F Σ_f 1/(3 N_f) Σ_i |F̂_i - F_i|²: predicted [M, N, 3], reference [N, 3] -> [M] in (eV/Å)².

    Zero without a label.
    """
    squares = (predicted.double() - reference.double()).square().mean(dim=-1)
    per_frame = mean_over_atoms(squares, frame_of_atom, n_atoms, counted)
    return mean_over_frames(per_frame, weights, labelled)


def stress_term(
    predicted: Tensor, reference: Tensor, has_stress: Tensor, weights: Tensor | None = None, scale: Tensor | None = None
) -> Tensor:
    """1/(9 B_S) Σ |s (σ̂ - σ)|²: [M, B, 3, 3], [B, 3, 3], [B] bool -> [M]; `scale` [B] is s, 1 if None.

    Zero where no frame of the batch has a stress.
    """
    squares = (predicted.double() - reference.double()).square().mean(dim=(-2, -1))
    if scale is not None:
        squares = squares * scale.square()
    return mean_over_frames(squares, weights, has_stress)


def sum_over_atoms(values: Tensor, frame_of_atom: Tensor, n_frames: int) -> Tensor:
    """Sum [M, N] over the atoms of each frame -> [M, n_frames]."""
    sums = torch.zeros(values.shape[0], n_frames, dtype=values.dtype, device=values.device)
    return sums.index_add(1, frame_of_atom, values)


def mean_over_atoms(values: Tensor, frame_of_atom: Tensor, n_atoms: Tensor, counted: Tensor | None) -> Tensor:
    """Mean [M, N] over those atoms of each frame that are `counted` [N] (bool), or over all -> [M, B]."""
    if counted is None:
        return sum_over_atoms(values, frame_of_atom, len(n_atoms)) / n_atoms
    n_counted = sum_over_atoms(counted[None].double(), frame_of_atom, len(n_atoms))
    return sum_over_atoms(torch.where(counted, values, 0.0), frame_of_atom, len(n_atoms)) / n_counted


def mean_over_frames(per_frame: Tensor, weights: Tensor | None, labelled: Tensor | None) -> Tensor:
    """Mean of [M, B] over the labelled frames, zero where there are none -> [M]."""
    if weights is not None:
        per_frame = per_frame * weights
    if labelled is None:
        return per_frame.mean(dim=1)
    return torch.where(labelled, per_frame, 0.0).sum(dim=1) / labelled.sum().clamp(min=1)
