"""Displaced positions, labelled by the Taylor expansion about the frame's own labels E and F.

    R = ∫ [ w_F ‖∂Ê(r + s) - (-F + Δg)‖² + 3N w_E (Ê(r + s) - (E - F·s + Δe))² ] φ(s) ds

with Δg = Hs, Δe = ½ sᵀHs where a Hessian H is known. Here they come from a prior E_p, to all orders:

    Δg = ∂E_p(r + s) - ∂E_p(r),    Δe = E_p(r + s) - E_p(r) - ∂E_p(r)·s

which is the Hessian's for a harmonic prior; without a prior both are zero, and forces are told to stay what they are.
w_F (`forces`) is a number, w_E (`energy`) is in 1/Å². Frames count where they have the label.

Source: physics-informed weakly supervised learning (PIWSL; Takamoto et al., ICML 2025, arXiv 2408.05215), which has the
energy's expansion to first order; what a prior adds to it is ours.
"""

from torch import Tensor

from .scene import Scene, of_labelled, sum_over_frames
from .sections import TaylorConfig


def term(settings: TaylorConfig, scene: Scene) -> Tensor:
    """R of each frame, [M, B], from `samples` displacements."""
    steps, labels, n_atoms = scene.draw(settings.samples), scene.labels, scene.n_atoms
    on_device = steps.to(labels.gradient.device)
    gradient = labels.gradient.expand_as(on_device)
    energies = labels.energies + sum_over_frames((labels.gradient * on_device).flatten(1), n_atoms)
    if scene.prior is not None:
        rest, moved = scene.prior_with_rest(steps)
        gradient = gradient + (moved.gradient - rest.gradient)[0]
        first_order = sum_over_frames((rest.gradient[0] * on_device).flatten(1), n_atoms)
        energies = energies + (moved.energies - rest.energies)[0] - first_order
    found = scene.model(steps)
    slopes = of_labelled(scene.mean_square(found.gradient - gradient), labels.has_gradient)
    # The first order of the energy is the labelled force.
    heights = of_labelled((found.energies - energies).square().mean(dim=1), labels.has_energy & labels.has_gradient)
    return settings.forces * slopes + (settings.energy / scene.length**2) * 3.0 * n_atoms * heights
