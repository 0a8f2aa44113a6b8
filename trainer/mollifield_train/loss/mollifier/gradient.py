"""Reg-M: the squared gradient of the learned energy, mollified.

For one frame with coordinates r_iα (atom i, direction α) the quantity is

    R = Σ_i Σ_α ∫ (∂Ê/∂r_iα)² φ(s) ds,   ∂Ê/∂r_iα taken where r_iα is displaced by s

and the loss is λ_M/B Σ_frames R. The formula's sums leave its size open; both readings are offered:
`per_structure` takes R as written, `per_atom` (the default) R/(3N), the normalisation of the force
term, so that λ_M/λ_F compares like with like.

**What counts is λ_M/λ_F.** R does not vanish at convergence while the force error does: at λ_M ≈ λ_F
the minimum is a potential with shrunken forces. With forces of RMS F_rms and a converged error δ, the
term outweighs the data unless λ_M/λ_F is small against (δ/F_rms)²: about 1e-6 is the default.

Source: the formula of the mollifier-regularised loss; nobody has published it for interatomic potentials elsewhere.
Gradients come from a callable,

    gradient(displacements [S, N, 3] float64, Å) -> ∂Ê/∂r [M, S, N, 3], eV/Å

for S displaced copies of a batch of N atoms in B frames; it must see the neighbours of the displaced
atoms, and must be differentiable by the parameters of the model.
"""

from collections.abc import Callable
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from ..kernels import Kernel
from .scene import Scene, sum_over_frames
from .sections import GradientConfig

Gradient = Callable[[Tensor], Tensor]


def term(settings: GradientConfig, scene: Scene) -> Tensor:
    """R of each frame, [M, B]: by quadrature, or one of the two estimates from random displacements."""

    def gradient(displacements: Tensor) -> Tensor:
        return scene.model(displacements).gradient

    if settings.integral == "quadrature":
        return quadrature(gradient, scene.n_atoms, scene.kernel, settings.nodes)
    if settings.displacement == "joint":
        return joint_monte_carlo(gradient, scene.n_atoms, scene.kernel, settings.samples, scene.rng)
    return monte_carlo(gradient, scene.n_atoms, scene.kernel, settings.samples, scene.rng, scene.at_rest)


def monte_carlo(
    gradient: Gradient,
    n_atoms: Tensor,
    kernel: Kernel,
    n_pairs: int,
    rng: np.random.Generator,
    at_rest: Tensor | None = None,
) -> Tensor:
    """R of each frame, [M, B], from random coordinates and antithetic pairs of displacements.

    Each pair moves one coordinate of each frame, drawn uniformly from its 3N, by +s and by -s with s
    from the kernel: 3N times the squared gradient there is an unbiased estimate of R. With the
    gradient `at_rest` [M, N, 3], which the force term has computed anyway, only the difference to
    the undisplaced square is sampled: still unbiased, and without noise in the zero-width limit.
    """
    counts = n_atoms.cpu().numpy()
    n_frames = len(counts)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    coordinates = 3 * starts + rng.integers(0, 3 * counts, size=(n_pairs, n_frames))
    steps = kernel.sample(rng, (n_pairs, n_frames))
    displacements = np.zeros((2, n_pairs, 3 * counts.sum()))
    np.put_along_axis(displacements[0], coordinates, steps, axis=1)
    displacements[1] = -displacements[0]

    gradients = gradient(torch.from_numpy(displacements.reshape(2 * n_pairs, -1, 3)))
    gradients = gradients.double().flatten(2)  # [M, 2 pairs, 3N]
    chosen = torch.from_numpy(coordinates).to(gradients.device)
    picked = chosen.repeat(2, 1).expand(len(gradients), -1, -1)
    squares = gradients.gather(2, picked).square()  # [M, 2 pairs, B]
    if at_rest is None:
        return 3.0 * n_atoms * squares.mean(dim=1)
    rest = at_rest.double().flatten(1).square()  # [M, 3N]
    change = squares - rest[:, chosen].repeat(1, 2, 1)
    return sum_over_frames(rest, n_atoms) + 3.0 * n_atoms * change.mean(dim=1)


def joint_monte_carlo(
    gradient: Gradient, n_atoms: Tensor, kernel: Kernel, n_pairs: int, rng: np.random.Generator
) -> Tensor:
    """Σ_iα of the squared gradient, [M, B], under the 3N-dimensional product kernel.

    All coordinates move at once, by +s and -s. Not R: the displacement of one coordinate also
    changes the gradient of the others, so this is larger. Each sample uses all 3N gradients.
    """
    steps = kernel.sample(rng, (n_pairs, int(n_atoms.sum()), 3))
    gradients = gradient(torch.from_numpy(np.concatenate([steps, -steps]))).double().flatten(2)
    squares = gradients.square()
    return sum_over_frames(squares.flatten(0, 1), n_atoms).view(*squares.shape[:2], -1).mean(dim=1)


def quadrature(gradient: Gradient, n_atoms: Tensor, kernel: Kernel, n_nodes: int) -> Tensor:
    """R of each frame, [M, B], coordinate by coordinate with `n_nodes` nodes; for small systems.

    Frames of a batch are independent, so coordinate k of all of them moves in one call; a call sees
    `n_nodes` copies of the batch, and there are 3N calls (N of the largest frame).
    """
    counts = n_atoms.cpu().numpy()
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    nodes, weights = kernel.quadrature(n_nodes)
    terms: list[Tensor] = []
    for k in range(3 * int(counts.max())):
        frames = np.flatnonzero(k < 3 * counts)
        columns = 3 * starts[frames] + k
        displacements = np.zeros((n_nodes, 3 * counts.sum()))
        displacements[:, columns] = nodes[:, None]
        gradients = gradient(torch.from_numpy(displacements.reshape(n_nodes, -1, 3)))
        squares = gradients.double().flatten(2)[:, :, torch.from_numpy(columns)].square()
        weight = torch.from_numpy(weights).to(squares.device)
        integrals = (squares * weight[:, None]).sum(dim=1)  # [M, frames]
        zeros = integrals.new_zeros(len(integrals), len(counts))
        terms.append(zeros.index_add(1, torch.from_numpy(frames).to(zeros.device), integrals))
    return reduce(torch.add, terms)
