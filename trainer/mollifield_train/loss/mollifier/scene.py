"""What a form of the mollified term sees: tensors and callables.

Letters: M members, B frames, N atoms of all frames together, S displaced copies of all frames.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..kernels import Kernel
from ..surface import Displaced, Surface


class Labels(NamedTuple):
    """What the frames are labelled with; zero where `has_...` says no."""

    energies: Tensor
    """[B] float64, eV."""
    has_energy: Tensor
    """[B] bool."""
    gradient: Tensor
    """[N, 3] float64, eV/Å: of the energy, the negative of forces."""
    has_gradient: Tensor
    """[B] bool."""


@dataclass(frozen=True)
class Scene:
    """A batch, what can be asked about displaced copies of it, and where displacements come from."""

    n_atoms: Tensor
    """[B] int64."""
    model: Displaced
    """The surface that is learned, differentiable by the parameters."""
    at_rest: Tensor
    """Its gradient where nothing is displaced, [M, N, 3], eV/Å, differentiable as well."""
    labels: Labels
    kernel: Kernel
    rng: np.random.Generator
    prior: Displaced | None = None
    """A cheap method's."""
    average: Displaced | None = None
    """That of the averaged weights, not differentiable."""
    denoised: Callable[[Tensor], Tensor] | None = None
    """A guess at displacements [S, N, 3], from displaced atoms and labelled forces, over the kernel's width:
    [M, S, N, 3], differentiable by the parameters."""
    length: float = 1.0
    """Unit of length of the loss, Å."""
    force: float = 1.0
    """Its unit of force, eV/Å."""

    def draw(self, n_copies: int) -> Tensor:
        """Displacements [n_copies, N, 3] in Å, every coordinate by itself from the kernel."""
        return torch.from_numpy(self.kernel.sample(self.rng, (n_copies, int(self.n_atoms.sum()), 3)))

    def without_drift(self, displacements: Tensor) -> Tensor:
        """The same [S, N, 3], less the mean over the atoms of each frame."""
        counts = self.n_atoms.cpu()
        frame = torch.repeat_interleave(torch.arange(len(counts)), counts)
        sums = displacements.new_zeros(len(displacements), len(counts), 3).index_add(1, frame, displacements)
        return displacements - (sums / counts[:, None])[:, frame]

    def prior_with_rest(self, displacements: Tensor) -> tuple[Surface, Surface]:
        """The prior's surface without any displacement ([1, 1, ...]) and with these."""
        assert self.prior is not None  # sections of forms that call this require one
        found = self.prior(torch.cat([torch.zeros_like(displacements[:1]), displacements]))
        found = Surface(*(values.to(self.at_rest.device) for values in found))
        return Surface(*(values[:, :1] for values in found)), Surface(*(values[:, 1:] for values in found))

    def mean_square(self, vectors: Tensor) -> Tensor:
        """Squares [M, S, N, 3] summed over the coordinates of each frame, mean over copies -> [M, B] float64."""
        squares = vectors.double().square().mean(dim=1).flatten(1)
        return sum_over_frames(squares, self.n_atoms)


def of_labelled(per_frame: Tensor, labelled: Tensor) -> Tensor:
    """[M, B] with zeros for frames without the label, scaled so that the mean is over those that have it."""
    return torch.where(labelled, per_frame, 0.0) * (len(labelled) / labelled.sum().clamp(min=1))


def sum_over_frames(values: Tensor, n_atoms: Tensor) -> Tensor:
    """Sum [K, 3N] over the coordinates of each frame -> [K, B]."""
    frame = torch.repeat_interleave(torch.arange(len(n_atoms), device=values.device), 3 * n_atoms.to(values.device))
    sums = torch.zeros(len(values), len(n_atoms), dtype=values.dtype, device=values.device)
    return sums.index_add(1, frame, values)
