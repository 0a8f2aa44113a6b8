"""Negative log likelihoods of labels, for a normal distribution with the mean and spread of samples on one trunk.

Letters and arguments as in `energy_force`; H samples. With the mean μ and the sample variance s² (ddof = 1) of the
samples, a floor ε and v = s² + ε², a value y has

    L = 1/2 log v + (y - μ)² / 2v

of total energies divided by the number of atoms, and of force components with s² a third of the trace of the atom's
covariance; constants are left out. With a `power` p the term is v^(p/2) L with v^(p/2) and (y - μ)² held fixed: it
teaches the spread alone, with a gradient as large as that of an error of the spread's size in the terms of
`energy_force` (p = 2) or `lengths` (p = 1), however far the spread is off. So one weight serves both, and the mean is
learnt as ever. (This is β-NLL with β = p/2, Seitzer et al., arXiv 2203.09168.)
"""

import torch
from torch import Tensor

from .energy_force import mean_over_atoms, mean_over_frames

ENERGY_FLOOR = 1e-4
"""eV an atom: less than any labels are worth, so that no frame that was learnt by heart pulls without bounds."""
FORCE_FLOOR = 1e-3
"""eV/Å, of a component."""


def energy_term(
    samples: Tensor,
    reference: Tensor,
    n_atoms: Tensor,
    weights: Tensor | None = None,
    labelled: Tensor | None = None,
    power: int = 0,
) -> Tensor:
    """Mean over frames: samples [H, B], reference [B], in eV -> [1]; zero without a label.

    With the power 2 as of total energies, which are those of `energy_force`.
    """
    per_atom = samples.double() / n_atoms
    squares = (per_atom.mean(dim=0) - reference.double() / n_atoms).square()
    found = _likelihood(squares, per_atom.var(dim=0), ENERGY_FLOOR, power)
    if power == 2:
        found = found * n_atoms**2
    return mean_over_frames(found[None], weights, labelled)


def force_term(
    samples: Tensor,
    reference: Tensor,
    frame_of_atom: Tensor,
    n_atoms: Tensor,
    weights: Tensor | None = None,
    labelled: Tensor | None = None,
    power: int = 0,
    counted: Tensor | None = None,
) -> Tensor:
    """Mean over a frame's components, and over frames: samples [H, N, 3], reference [N, 3], in eV/Å -> [1].

    Zero without a label.
    """
    samples = samples.double()
    squares = (samples.mean(dim=0) - reference.double()).square().mean(dim=-1)
    found = _likelihood(squares, samples.var(dim=0).mean(dim=-1), FORCE_FLOOR, power)
    per_frame = mean_over_atoms(found[None], frame_of_atom, n_atoms, counted)
    return mean_over_frames(per_frame, weights, labelled)


def _likelihood(squares: Tensor, variances: Tensor, floor: float, power: int) -> Tensor:
    variances = variances + floor**2
    if power == 0:
        return 0.5 * (torch.log(variances) + squares / variances)
    return variances.detach() ** (0.5 * power) * 0.5 * (torch.log(variances) + squares.detach() / variances)
