"""A noise head, trained on the residuals of a mean that has settled: nothing of the model itself is trained.

Members' spread (C, epistemic) and noise (S, aleatoric) together make up the residuals r of forces. With Sigma = S + C
the loss of an atom is that of a normal distribution, weighted by a power of the variance that gets no gradient, without
which large residuals would count for little (beta-NLL; Seitzer et al., arXiv 2203.09168):

    L = [det(Sigma)^(beta / 3)] * 1/2 (log det Sigma + r^T Sigma^-1 r).

Energies likewise, with the sum of atomic variances. A part of the frames is held back, and the weights are kept that
do best on it: by the species' mean noise, from which they start, if nothing does better.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ...model.noise_head import NoiseHead
from ..last_layer import Noise
from .residuals import Residuals

BETA = 0.5
N_HIDDEN = 32
HELD_BACK = 5
"""Every so many frames one."""
N_LEAST = 10
"""Frames."""
BATCH_ATOMS = 256
LEAST_STEPS = 10
"""Of an epoch."""
EPOCHS = 100
PATIENCE = 12
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
SMALL_FORCE = 0.3
"""Times the root mean square of forces: below this a force's size and direction mean less and less."""
STD_FLOOR = 1e-3
"""Times the largest std of an invariant: one that hardly varies is no news."""


def fit_head(residuals: Residuals, noise: Noise, seed: int = 0) -> NoiseHead:
    """Raises ValueError for fewer than `N_LEAST` frames. `noise`: what the head starts from."""
    n_frames = len(residuals.sizes)
    if n_frames < N_LEAST:
        raise ValueError(f"{n_frames} frames with forces; a noise head needs {N_LEAST} at least")
    generator = torch.Generator().manual_seed(seed)
    head = NoiseHead(len(residuals.features), residuals.n_species, residuals.n_latent, residuals.l_max, N_HIDDEN)
    _set_scales(head, residuals, noise)
    held_back = torch.zeros(n_frames, dtype=torch.bool)
    held_back[torch.randperm(n_frames, generator=generator)[::HELD_BACK]] = True
    forces, energies = _ForcesTask(head, residuals, held_back), _EnergiesTask(head, residuals, held_back)
    for part in (head.of_force, head.forces):
        part.draw(generator)
        _train(part, forces, generator)
    if residuals.has_energy.sum() >= N_LEAST:
        head.energies.draw(generator)
        _train(head.energies, energies, generator)
    return head.requires_grad_(False)


def _set_scales(head: NoiseHead, residuals: Residuals, noise: Noise) -> None:
    """What the invariants are measured in, and the noise without features."""
    head.log_force_variance.copy_((noise.forces.square() / 3.0).log())
    # Sums over atoms; that of `noise` is proportional to their number.
    of_an_atom = noise.energy**2 * float(residuals.sizes.square().mean() / residuals.sizes.mean())
    head.log_energy_variance.fill_(of_an_atom).log_()
    root_mean_square = residuals.mean_forces.square().sum(dim=1).mean().sqrt()
    head.force_scale.fill_((SMALL_FORCE * root_mean_square).clamp(min=1e-3))
    scalars = head.scalars(residuals.features, residuals.mean_forces)
    std, mean = torch.std_mean(scalars, dim=1)
    head.scalar_mean.copy_(mean)
    head.scalar_std.copy_(torch.maximum(std, STD_FLOOR * std.amax(dim=1, keepdim=True)).clamp(min=1e-12))
    if head.n_quadrupoles:
        n = residuals.n_latent
        of_2 = residuals.features[..., 5 * n : 10 * n].unflatten(2, (5, n))
        rms = of_2.square().sum(dim=2).mean(dim=1).sqrt()
        head.quadrupole_scale.copy_(torch.maximum(rms, STD_FLOOR * rms.amax(dim=1, keepdim=True)).clamp(min=1e-12))


class _ForcesTask:
    """Atoms, by their number."""

    def __init__(self, head: NoiseHead, residuals: Residuals, held_back: Tensor) -> None:
        self._head, self._of = head, residuals
        self._scalars = head.standardised(head.scalars(residuals.features, residuals.mean_forces))
        self._quadrupoles = head.quadrupoles(residuals.features, residuals.mean_forces)
        atoms = torch.arange(len(residuals.types))
        self.held_back, self.taught = atoms[held_back[residuals.frame]], atoms[~held_back[residuals.frame]]

    def parts(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Of an epoch."""
        for _ in range(math.ceil(LEAST_STEPS / math.ceil(len(self.taught) / BATCH_ATOMS))):
            yield from self.taught[torch.randperm(len(self.taught), generator=generator)].split(BATCH_ATOMS)

    def loss(self, atoms: Tensor, beta: float) -> Tensor:
        """Mean over these atoms `[T]`."""
        covariance = self._head.covariance(self._scalars[:, atoms], self._quadrupoles[:, atoms], self._of.types[atoms])
        root = torch.linalg.cholesky(covariance + self._of.forces_spread[atoms])
        residuals = self._of.forces[atoms, :, None].expand(len(root), -1, -1, -1)
        z = torch.linalg.solve_triangular(root, residuals, upper=False).squeeze(3)
        half_log_det = root.diagonal(dim1=2, dim2=3).log().sum(dim=2)
        weight = (2.0 * beta / 3.0 * half_log_det).exp().detach()
        return (weight * (half_log_det + 0.5 * z.square().sum(dim=2))).mean(dim=1)


class _EnergiesTask:
    """Frames, by their number."""

    def __init__(self, head: NoiseHead, residuals: Residuals, held_back: Tensor) -> None:
        self._head, self._of = head, residuals
        self._scalars = head.standardised(head.scalars(residuals.features, residuals.mean_forces))
        frames = torch.arange(len(residuals.sizes))
        self.held_back = frames[held_back & residuals.has_energy]
        self.taught = frames[~held_back & residuals.has_energy]

    def parts(self, generator: torch.Generator) -> Iterator[Tensor]:
        """All of them at once, as often as an epoch of forces has parts."""
        for _ in range(LEAST_STEPS):
            yield self.taught

    def loss(self, frames: Tensor, beta: float) -> Tensor:
        """Mean over these frames `[T]`."""
        atomic = self._head.energy_variance(self._scalars, self._of.types)
        variance = atomic.new_zeros(len(atomic), len(self._of.sizes)).index_add(1, self._of.frame, atomic)
        variance = (variance + self._of.energies_spread)[:, frames]
        weight = variance.pow(beta).detach()
        return (weight * 0.5 * (variance.log() + self._of.energies[frames].square() / variance)).mean(dim=1)


def _train(part: nn.Module, task: _ForcesTask | _EnergiesTask, generator: torch.Generator) -> None:
    """Leaves each trunk with the weights that were best on the frames held back, by the likelihood itself."""
    optimiser = torch.optim.AdamW(part.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best, since = _Best(part, lambda: task.loss(task.held_back, 0.0)), 0
    for _ in range(EPOCHS):
        for rows in task.parts(generator):
            optimiser.zero_grad()
            task.loss(rows, BETA).sum().backward()
            optimiser.step()
        since = 0 if best.update() else since + 1
        if since == PATIENCE:
            break
    best.restore()


class _Best:
    """Weights of each trunk with its smallest error so far."""

    def __init__(self, part: nn.Module, error: Callable[[], Tensor]) -> None:
        self._parameters, self._error = list(part.parameters()), error
        self._kept = [parameter.detach().clone() for parameter in self._parameters]
        with torch.no_grad():
            self._least = error()

    @torch.no_grad()
    def update(self) -> bool:
        """Whether one of the trunks has got better."""
        error = self._error()
        better = error < self._least
        self._least = torch.where(better, error, self._least)
        for kept, parameter in zip(self._kept, self._parameters, strict=True):
            kept[better] = parameter[better]
        return bool(better.any())

    @torch.no_grad()
    def restore(self) -> None:
        """Into the module."""
        for kept, parameter in zip(self._kept, self._parameters, strict=True):
            parameter.copy_(kept)
