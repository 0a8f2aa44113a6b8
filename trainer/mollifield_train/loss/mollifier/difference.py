"""The change of the gradient under a displacement, against the change that a cheap prior has.

    R = ∫ ‖ [∂Ê(r + s) - ∂Ê(r)] - [∂E_p(r + s) - ∂E_p(r)] ‖² φ(s) ds

Zero where Ê - E_p has the same force everywhere: a model that is the prior and a constant pays nothing. No label
enters, and at rest the model is free. Prior and labels may be of different methods as long as their stiffness is
alike. To first order in s it is `hvp` with the displacement as the probe. Own form, after PIWSL's weak labels
(arXiv 2408.05215) and delta learning (Ramakrishnan et al., J. Chem. Theory Comput. 11, 2087 (2015)).
"""

from torch import Tensor

from .scene import Scene
from .sections import DifferenceConfig


def term(settings: DifferenceConfig, scene: Scene) -> Tensor:
    """R of each frame, [M, B], from `samples` displacements."""
    steps = scene.draw(settings.samples)
    rest, moved = scene.prior_with_rest(steps)
    change = scene.model(steps).gradient - scene.at_rest[:, None]
    return scene.mean_square(change - (moved.gradient - rest.gradient))
