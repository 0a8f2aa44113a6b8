"""The same terms with errors as lengths in place of squares: a bad frame pulls no harder than a good one.

Letters and arguments as in `energy_force`. The loss is, for each member,

    L = λ_E/B_E Σ_f |Ê_f - E_f|/N_f + λ_F/B_F Σ_f 1/N_f Σ_{i in f} |F̂_i - F_i| + λ_S/B_S Σ_f |s_f (σ̂_f - σ_f)|

with Euclidean lengths of force vectors, which turn with the frame where a sum over components would not, and the
Frobenius norm of the stress. Nequix (Koker et al., arXiv 2508.16067) and others train forces so.
"""

import torch
from torch import Tensor

from .energy_force import mean_over_atoms, mean_over_frames

SOFT = 1e-6
"""Lengths are sqrt(x² + SOFT²) - SOFT, in the unit of x: smooth where an error is zero."""


def energy_term(
    predicted: Tensor, reference: Tensor, n_atoms: Tensor, weights: Tensor | None = None, labelled: Tensor | None = None
) -> Tensor:
    """1/B_E Σ |Ê - E|/N_f: predicted [M, B], reference [B], in eV -> [M] in eV/atom; zero without a label."""
    per_atom = (predicted.double() - reference.double()) / n_atoms
    return mean_over_frames(_length(per_atom.square()), weights, labelled)


def force_term(
    predicted: Tensor,
    reference: Tensor,
    frame_of_atom: Tensor,
    n_atoms: Tensor,
    weights: Tensor | None = None,
    labelled: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """1/B_F Σ_f 1/N_f Σ_i |F̂_i - F_i|: predicted [M, N, 3], reference [N, 3] -> [M] in eV/Å; zero without a label."""
    lengths = _length((predicted.double() - reference.double()).square().sum(dim=-1))
    per_frame = mean_over_atoms(lengths, frame_of_atom, n_atoms, counted)
    return mean_over_frames(per_frame, weights, labelled)


def stress_term(
    predicted: Tensor, reference: Tensor, has_stress: Tensor, weights: Tensor | None = None, scale: Tensor | None = None
) -> Tensor:
    """1/B_S Σ |s (σ̂ - σ)|: [M, B, 3, 3], [B, 3, 3], [B] bool -> [M]; `scale` [B] is s, 1 if None."""
    squares = (predicted.double() - reference.double()).square().sum(dim=(-2, -1))
    if scale is not None:
        squares = squares * scale.square()
    return mean_over_frames(_length(squares), weights, has_stress)


def _length(squares: Tensor) -> Tensor:
    return torch.sqrt(squares + SOFT**2) - SOFT
