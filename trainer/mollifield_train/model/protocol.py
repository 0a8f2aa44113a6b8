"""What training, export and the loop ask of an architecture."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .architecture import Architecture


class Potential(Protocol):
    """A committee of one architecture: an `nn.Module` that is made by calling its class with an `Architecture`.

    Members differ in tensors alone, each with a leading member dimension: all parameters, and the buffers that a module
    names in its class attribute `MEMBER_BUFFERS`. Where samples share a trunk, that dimension is 1 in what they share.
    So geometry is computed once and all run in one pass. Everything that is done with members (`samples`) follows from
    this, and asks for no method. `base.ScaledPotential` has all of it but the network.
    """

    architecture: Architecture[Any]
    species: list[str]
    r_max: float
    """Å."""
    n_layers: int
    """Atoms farther than n_layers * r_max do not count in an atom's energy."""
    n_members: int
    shared_trunk: bool
    """`Architecture.shared_trunk`."""
    dtype: torch.dtype
    """Of parameters, edge vectors and latent features."""
    atomic_shifts: Tensor
    """Buffer of members `[M, n_species]`, float64, eV."""
    energy_scale: Tensor
    """Buffer of members `[M, 1]`, float64, eV: that of forces times 1 Å."""

    def __init__(self, architecture: Architecture[Any]) -> None:
        """An untrained model."""

    def __call__(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """`atomic_energies` and `latent` of `mollifield.contract`, twice differentiable by `edge_vectors`."""
        ...

    # Of nn.Module.
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...
    def named_modules(self) -> Iterator[tuple[str, nn.Module]]: ...
    def to(self, device: torch.device | str) -> "Potential": ...
    def cpu(self) -> "Potential": ...
    def eval(self) -> "Potential": ...


@runtime_checkable
class Staged(Protocol):
    """Runs layer by layer as well, so that ranks of LAMMPS can exchange features: the stages of `mollifield.contract`.

    Files of other architectures run with ghosts out to n_layers * r_max (`halo ghost`).
    """

    def embed(self, edge_vectors: Tensor, types: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...
    def send(self, k: int, x: Tensor) -> Tensor: ...
    def receive(
        self,
        k: int,
        sent: Tensor,
        x: Tensor,
        harmonics: Tensor,
        lengths: Tensor,
        basis: Tensor,
        edge_index: Tensor,
        types: Tensor,
    ) -> Tensor: ...
    def read(self, x: Tensor, lengths: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]: ...


@runtime_checkable
class Tabulable(Protocol):
    """Has a faster form with tables in the place of networks, to run and not to train."""

    def can_tabulate(self) -> bool: ...
    def tabulated(self, n_knots: int) -> Potential: ...


class TabulablePotential(Potential, Tabulable, Protocol):
    """Both at once."""


@runtime_checkable
class LastLayered(Protocol):
    """Atomic energies are linear in F weights of a last layer, in which samples on one trunk may differ.

    Repulsion and shifts apart, they are `energy_scale * features @ weights`. Of models with one member.
    """

    def last_layer_weights(self) -> Tensor:
        """`[F]`, float64."""
        ...

    def last_layer_features(self, latent: Tensor) -> Tensor:
        """`latent [1, N, L]` -> `[N, F]`."""
        ...

    def sampled(self, weights: Tensor) -> Potential:
        """A model of S samples on this trunk, with last layers `weights [S, F]`."""
        ...


class LastLayeredPotential(Potential, LastLayered, Protocol):
    """Both at once."""


@runtime_checkable
class HasMatrices(Protocol):
    """Says which of its weights are matrices, for an optimiser that treats them as such (`training.muon`)."""

    def matrices(self) -> dict[str, list[tuple[int, int]]]:
        """For parameters that hold linear maps between features: rows and columns of each of a member's, in order."""


@runtime_checkable
class Droppable(Protocol):
    """Says which of an atom's features its weights read, so that some can be left out (`training.dropout`)."""

    def inputs_of_weights(self, everywhere: bool) -> dict[str, Tensor]:
        """For parameters that read features: of each of a member's numbers, in order, which input it reads, int64.

        Inputs are irreps, numbered from 0 for each parameter. Of the readout alone, or `everywhere`.
        """
        ...


@runtime_checkable
class NoiseFeatured(Protocol):
    """Has more to tell of an atom than its latent features, for a noise head to read."""

    def give_noise_features(self) -> int:
        """From now on give `noise_features` of `mollifield.contract`, up to the angular momentum that is returned.

        `[T, N, (1 + (l+1)^2) * L]`: the latent features, then L features of each component of each l, as `irreps`
        orders them. With -1 there are none, and a noise head has the latent ones alone.
        """
        ...


@runtime_checkable
class Rescalable(Protocol):
    """Can take another energy scale without other energies."""

    def rescale(self, energy_scale: float) -> None: ...


@runtime_checkable
class ScalesWeights(Protocol):
    """Wants initial weights of other sizes than N(0, 1)."""

    def scale_initial_weights(self) -> None:
        """Change parameters that were just drawn, in place."""
        ...
