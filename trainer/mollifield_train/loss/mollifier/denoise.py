"""The displacement, guessed from where the atoms are and from the forces that they had.

    R = f² ∫ ‖ ŝ(r + s; F)/σ - s/σ ‖² φ(s) ds

with the labelled forces F of r, σ the kernel's `width` and f the loss' unit of force, 1 eV/Å. s has no mean over the
atoms of a frame: where the frame as a whole has gone, nothing can tell. Frames count where they have forces.

Source: DeNS (Liao, Smidt, Das, arXiv 2403.09549). Without the forces the displaced frame alone does not tell s, for a
frame of dynamics is displaced already; with them it does: F - F(r + s) is Hs to first order. There the forces are an
input of the network, mixed with the features of every layer, and a readout of its vector features guesses s. A plain
potential has neither: here scalars of the last features and the lengths of the forces make a potential A and weights of
each atom, and ŝ/σ = -(1 + a) ∂A/∂r + b F (`training.denoiser`), for training only. So messages do not know of forces.
Other departures: all atoms are displaced, by one σ, and no energy of r is asked of the displaced frame.
"""

from torch import Tensor

from .scene import Scene, of_labelled
from .sections import DenoiseConfig


def term(settings: DenoiseConfig, scene: Scene) -> Tensor:
    """R of each frame, [M, B], from `samples` displacements."""
    assert scene.denoised is not None  # whoever trains with this form has a readout for it
    steps = scene.without_drift(scene.draw(settings.samples))
    guess = scene.denoised(steps)
    errors = scene.force * (guess - steps.to(guess) / scene.kernel.width)
    return of_labelled(scene.mean_square(errors), scene.labels.has_gradient)
