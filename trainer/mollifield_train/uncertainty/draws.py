"""Few samples that stand for a distribution: in pairs about its mean, and as far from each other as may be."""

import scipy.linalg
import torch
from torch import Tensor

from mollifield.gradients import Basis

DEPENDENT = 1e-9
"""Of the largest distance between samples: what is nearer than this to the span of others lies in it."""


def orthogonal(n: int, n_features: int, generator: torch.Generator) -> Tensor:
    """`[n, F]` with E[z z^T] = 1: random directions, up to F of them at right angles to each other, of length sqrt(F).

    A spread in any direction is then estimated with less noise than from independent normal numbers.
    """
    found = []
    for start in range(0, n, n_features):
        normal = torch.randn(n_features, min(n - start, n_features), generator=generator, dtype=torch.float64)
        basis, triangle = torch.linalg.qr(normal)
        found.append((basis * triangle.diagonal().sign()).T * n_features**0.5)
    return torch.cat(found)


def leading(covariance: Tensor, metric: Tensor, n: int) -> Tensor:
    """`[n, F]`, n <= F: directions along which C = `covariance [F, F]` is largest, in the metric of `metric [F, F]`.

    The part of the trace of C times the metric that they hold is scaled to all of it; with n = F sum z z^T / n is C.
    They rank better than as many random draws, where a few directions have most of the spread.
    """
    root = square_root(covariance)
    sizes, modes = torch.linalg.eigh(root @ metric @ root)
    share = sizes[-n:].sum() / sizes.sum()
    return (root @ modes[:, -n:]).T * (n / share).sqrt()


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric one, of a positive semidefinite `[F, F]`."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0.0).sqrt()) @ vectors.T


def antithetic(half: Tensor) -> Tensor:
    """`half [n, F]`, with E[z z^T] = C, -> `[2n, F]`: pairs +z, -z whose sample covariance (ddof = 1) is C on average.

    The mean of the samples is exactly 0, so that the mean of linear functions of them is that of their mean.
    """
    n_samples = 2 * len(half)
    half = half * ((n_samples - 1) / n_samples) ** 0.5
    return torch.stack([half, -half], dim=1).flatten(0, 1)


def affine_basis(samples: Tensor) -> Basis | None:
    """Of `samples [S, F]` the fewest of which the others are affine combinations; None where that takes all of them.

    Energies that are linear in the weights, plus what all samples share, then combine likewise, and their gradients.
    Of pairs about one mean that is S/2 + 1, and never more than F + 1.
    """
    double = samples.double()
    offsets = double - double[0]
    _, triangle, order = scipy.linalg.qr(offsets.T.numpy(), mode="economic", pivoting=True)
    sizes = abs(triangle.diagonal())
    rank = int((sizes > DEPENDENT * max(sizes[0], torch.finfo(torch.float64).tiny)).sum())
    if rank + 1 >= len(samples):
        return None
    members = sorted([0, *(int(k) for k in order[:rank])])
    # Affine: the weights of a combination add up to 1, as the mean has to.
    ones = torch.ones(len(double), 1, dtype=torch.float64)
    scale = offsets.norm(dim=1).max().clamp(min=torch.finfo(torch.float64).tiny)
    rows = torch.cat([offsets / scale, ones], dim=1)
    mixing = torch.linalg.lstsq(rows[members].T, rows.T).solution.T
    mixing[members] = torch.eye(len(members), dtype=torch.float64)
    return Basis(members, mixing)
