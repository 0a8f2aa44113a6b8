"""What mollification takes away from the gradient: wiggles are penalised, slope is not.

For displacements s of all 3N coordinates, in antithetic pairs,

    R = ∫ ‖ ∂Ê(r) - ½ (∂Ê(r + s) + ∂Ê(r - s)) ‖² φ(s) ds

Zero for any harmonic potential, whatever its slope or stiffness, and for any cubic one up to the even part that its
gradient has: the leading term is ‖½ ∂³Ê s s‖². It bounds ‖∂Ê - φ * ∂Ê‖², the squared distance to the mollified
gradient, from above (Jensen). Own form: the `gradient` term without what makes it shrink forces.
"""

import torch
from torch import Tensor

from .scene import Scene
from .sections import ResidualConfig


def term(settings: ResidualConfig, scene: Scene) -> Tensor:
    """R of each frame, [M, B], from `samples` pairs."""
    steps = scene.draw(settings.samples)
    plus, minus = scene.model(torch.cat([steps, -steps])).gradient.chunk(2, dim=1)
    return scene.mean_square(scene.at_rest[:, None] - 0.5 * (plus + minus))
