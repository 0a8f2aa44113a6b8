"""Products of the Hessian with a random probe, against those of a cheap prior.

With v = ±1 for every coordinate (Rademacher) and Ĥv by central differences of gradients,

    R = ℓ² E_v ‖ (Ĥ - H_p) v ‖²,    Ĥv ≈ [∂Ê(r + hv) - ∂Ê(r - hv)] / 2h

whose mean over probes is ℓ² ‖Ĥ - H_p‖² in the Frobenius norm (Hutchinson, Commun. Stat. Simul. Comput. 18, 1059
(1989)), ℓ the loss' unit of length, 1 Å. Both sides are differenced alike, with h the `width`: a third derivative of
the network costs more and is not what the native operators have. A random row or probe does as well as all of
the Hessian: Amin et al., arXiv 2501.09009 (rows); arXiv 2603.04523 (probes).
"""

import torch
from torch import Tensor

from .scene import Scene
from .sections import HvpConfig


def term(settings: HvpConfig, scene: Scene) -> Tensor:
    """R of each frame, [M, B], from `samples` probes."""
    h = scene.kernel.width
    signs = 2.0 * scene.rng.integers(0, 2, size=(settings.samples, int(scene.n_atoms.sum()), 3)) - 1.0
    probes = h * torch.from_numpy(signs)
    _, prior = scene.prior_with_rest(torch.cat([probes, -probes]))
    return scene.mean_square(
        (scene.length / h) * (_half(scene.model(torch.cat([probes, -probes])).gradient) - _half(prior.gradient))
    )


def _half(gradient: Tensor) -> Tensor:
    """Half the difference of [M, 2S, N, 3] at plus and at minus -> [M, S, N, 3]."""
    plus, minus = gradient.chunk(2, dim=1)
    return 0.5 * (plus - minus)
