"""Negative log likelihoods of labels, for a normal distribution with the mean and spread of samples on one trunk.

Letters and arguments as in `energy_force`; H samples. With the mean μ and the sample variance s² (ddof = 1) of the
samples, and a floor ε, a value y has

    L = 1/2 log(s² + ε²) + (y - μ)² / (2 (s² + ε²))

of total energies divided by the number of atoms, and of force components with s² a third of the trace of the atom's
covariance; constants are left out.
"""

import torch
from torch import Tensor

from .energy_force import mean_over_frames, sum_over_atoms

ENERGY_FLOOR = 1e-4
"""eV an atom: less than any labels are worth, so that no frame that was learnt by heart pulls without bounds."""
FORCE_FLOOR = 1e-3
"""eV/Å, of a component."""


def energy_term(
    samples: Tensor, reference: Tensor, n_atoms: Tensor, weights: Tensor | None = None, labelled: Tensor | None = None
) -> Tensor:
    """Mean of L over the energies: samples [H, B], reference [B], in eV -> [1]; zero without a label."""
    per_atom = samples.double() / n_atoms
    deviations = per_atom.mean(dim=0) - reference.double() / n_atoms
    return mean_over_frames(
        _likelihood(deviations.square(), per_atom.var(dim=0), ENERGY_FLOOR)[None], weights, labelled
    )


def force_term(
    samples: Tensor,
    reference: Tensor,
    frame_of_atom: Tensor,
    n_atoms: Tensor,
    weights: Tensor | None = None,
    labelled: Tensor | None = None,
) -> Tensor:
    """Mean of L over a frame's components, and over frames: samples [H, N, 3], reference [N, 3] -> [1].

    Zero without a label.
    """
    samples = samples.double()
    squares = (samples.mean(dim=0) - reference.double()).square().mean(dim=-1)
    found = _likelihood(squares, samples.var(dim=0).mean(dim=-1), FORCE_FLOOR)
    per_frame = sum_over_atoms(found[None], frame_of_atom, len(n_atoms)) / n_atoms
    return mean_over_frames(per_frame, weights, labelled)


def _likelihood(squares: Tensor, variances: Tensor, floor: float) -> Tensor:
    variances = variances + floor**2
    return 0.5 * (torch.log(variances) + squares / variances)
