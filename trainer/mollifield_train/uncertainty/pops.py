"""POPS: weights that fit single labels exactly, which are many where no weights fit all labels.

Errors of a model that is too small for noiseless labels do not become less with more of them, and Laplace, which takes
them for noise, knows nothing of it (misspecification: Swinburne and Perez, arXiv 2402.01810; for interatomic potentials
arXiv 2502.07104). For each label, with its row phi and residual e, the weights nearest to the posterior's mean, in the
metric of its precision H, that meet it exactly are

    dv = H^-1 phi e / (phi^T H^-1 phi).

The smallest box in the principal axes of all dv that holds them is filled uniformly. As in the authors' package,
labels of less than median leverage phi^T H^-1 phi are left out: they would take the weights anywhere. Samples are not
points drawn from the box, of which few rank badly, but leading directions of its second moment about the mean.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .draws import leading, orthogonal, square_root
from .features import FrameFeatures
from .last_layer import Posterior, points_of

LEVERAGE_QUANTILE = 0.5
AXIS_THRESHOLD = 1e-8
"""Principal axes with less than this part of the largest one's sum of squares are left out."""


def pops(posterior: Posterior, found: Sequence[FrameFeatures], n: int, generator: torch.Generator) -> Tensor:
    """`[n, F]` deviations from the posterior's mean; n > F of them are drawn, with the box's second moment."""
    covariance = second_moment(*box_of(pointwise_shifts(posterior, found)))
    n_features = len(posterior.mean)
    if n > n_features:
        return orthogonal(n, n_features, generator) @ square_root(covariance)
    return leading(covariance, posterior.precision, n)


def second_moment(axes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`[F, F]` mean of x x^T over the box that `box_of` returns."""
    middle = axes.T @ ((low + high) / 2.0)
    return (axes.T * ((high - low).square() / 12.0)) @ axes + middle[:, None] * middle


def pointwise_shifts(
    posterior: Posterior, found: Sequence[FrameFeatures], quantile: float = LEVERAGE_QUANTILE
) -> Tensor:
    """dv `[n_labels, F]` of the numbers among the labels (an energy, a force's component) with the largest leverage."""
    points = list(points_of(found, posterior.noise))
    rows = torch.cat([rows.flatten(0, 1) for rows, _ in points])
    residuals = torch.cat([residuals.flatten() for _, residuals in points]) - rows @ posterior.mean
    directions = torch.linalg.solve(posterior.precision, rows.T).T
    leverage = (directions * rows).sum(dim=1)
    # Not `torch.quantile`, which takes no more than 16 million numbers.
    chosen = leverage.argsort()[int(quantile * len(leverage)) :]
    chosen = chosen[leverage[chosen] > 0.0]
    return directions[chosen] * (residuals[chosen] / leverage[chosen])[:, None]


def box_of(shifts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Principal axes `[K, F]` of `shifts [n, F]`, and the least and largest component along each `[K]`."""
    squares, vectors = torch.linalg.eigh(shifts.T @ shifts)
    axes = vectors[:, squares > AXIS_THRESHOLD * squares.max()].T
    components = shifts @ axes.T
    return axes, components.amin(dim=0), components.amax(dim=0)
