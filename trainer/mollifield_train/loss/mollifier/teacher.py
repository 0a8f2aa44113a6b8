"""Towards a steadier version of the model where atoms are displaced.

    R = ∫ ‖ ∂Ê(r + s) - ∂Ē(r + s) ‖² φ(s) ds

Ē has the moving average of the member's weights (mean teacher: Tarvainen and Valpola, arXiv 1703.01780), or is the mean
of the committee; no derivative is taken of it. The average knows no more of the truth than the member does: it can
take noise out of the weights, and nothing else.
"""

from torch import Tensor

from .scene import Scene
from .sections import TeacherConfig


def term(settings: TeacherConfig, scene: Scene) -> Tensor:
    """R of each frame, [M, B], from `samples` displacements.

    Raises ValueError where there is no teacher: a committee of one, or weights that are not averaged.
    """
    steps = scene.draw(settings.samples)
    gradient = scene.model(steps).gradient
    if settings.towards == "committee":
        if len(gradient) < 2:
            raise ValueError("loss.mollifier.towards: the mean of a committee of one member teaches nothing")
        return scene.mean_square(gradient - gradient.detach().mean(dim=0, keepdim=True))
    if scene.average is None:
        raise ValueError("loss.mollifier.towards: no average of the weights is kept (optimiser.ema_decay is 0)")
    return scene.mean_square(gradient - scene.average(steps).gradient)
