"""Energies, forces and virials from edges, by the gradient of the energy (`mollifield.contract`).

The same for a model in training and for an exported one. Shapes: M members, or 1 where their mean is asked for; G
geometries, 1 or M; E edges; N atoms; B frames, whose atoms and edges follow one another.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import contract


class Basis(NamedTuple):
    """Of members whose energies are linear in one another: BASIS_KEY and MIXING_KEY of `mollifield.contract`."""

    members: list[int]
    """R of them."""
    mixing: Tensor
    """[M, R] float64."""


class Differentiated(NamedTuple):
    """What a model says of edges, and how its energy depends on them."""

    outputs: contract.Outputs
    """By the names of the contract."""
    edge_vectors: Tensor
    """[G, E, 3] in the model's dtype, Å."""
    gradients: Tensor
    """[M, E, 3] in the model's dtype, eV/Å: of each member's energy, or of their mean."""


def differentiate(
    model: Callable[..., Any],
    edge_vectors: Tensor,
    edge_index: Tensor,
    types: Tensor,
    n_gradients: int,
    dtype: torch.dtype,
    create_graph: bool = False,
    shared_trunk: bool = False,
    basis: Basis | None = None,
) -> Differentiated:
    """Run `model` on `edge_vectors [E, 3]` in `dtype`, and differentiate.

    `n_gradients` is 1 for the gradient of the members' mean, M for that of each.

    Models of their own get a copy of the geometry each, so that the gradient of the sum over members holds every
    member's own; samples on a `shared_trunk` a backward pass each through one graph, or those of a `basis`, of which
    the others are made. `create_graph` keeps gradients differentiable by the weights.
    """
    n_copies = 1 if shared_trunk else n_gradients
    vectors = edge_vectors.to(dtype).expand(n_copies, -1, -1).clone().requires_grad_()
    with torch.enable_grad():
        outputs = contract.named_outputs(model(vectors, edge_index, types))
        energies = outputs[contract.ATOMIC_ENERGIES]
        if n_gradients == 1:
            totals = [energies.sum() / len(energies)]
        else:
            differing = energies if basis is None else energies[basis.members]
            totals = [member.sum() for member in differing] if shared_trunk else [energies.sum()]
        found = [
            torch.autograd.grad(total, vectors, retain_graph=create_graph or k < len(totals), create_graph=create_graph)
            for k, total in enumerate(totals, start=1)
        ]
    gradients = torch.cat([gradient for (gradient,) in found])
    if basis is not None and n_gradients > 1:
        gradients = torch.tensordot(basis.mixing.to(gradients), gradients, dims=1)
    return Differentiated(outputs, vectors, gradients)


def forces_of(gradients: Tensor, edge_index: Tensor, n_atoms: int) -> Tensor:
    """`gradients [M, E, 3]` -> forces `[M, N, 3]`: F_i = sum_j g_ij - sum_k g_ki."""
    centres, neighbours = edge_index.view(2, 1, -1, 1).expand(-1, len(gradients), -1, 3)
    forces = gradients.new_zeros(len(gradients), n_atoms, 3)
    # On a CPU `index_add` of rows costs six times as much: torch sets up an addition for each edge.
    return forces.scatter_add(1, centres, gradients).scatter_add(1, neighbours, -gradients)


def virial_of(edge_vectors: Tensor, gradients: Tensor) -> Tensor:
    """`[G, E, 3]`, `[M, E, 3]` -> virial of one frame `[M, 3, 3]`: W = - sum_ij d_ij (x) g_ij."""
    return -torch.einsum("mea,meb->mab", edge_vectors, gradients)


def virials_of_frames(edge_vectors: Tensor, gradients: Tensor, frame_of_edge: Tensor, n_frames: int) -> Tensor:
    """The same for many frames, `frame_of_edge [E]` -> `[M, B, 3, 3]`."""
    outer = -edge_vectors.unsqueeze(-1) * gradients.unsqueeze(-2)
    return outer.new_zeros(len(outer), n_frames, 3, 3).index_add(1, frame_of_edge, outer)


def atomic_virials_of(edge_vectors: Tensor, gradients: Tensor, edge_index: Tensor, n_atoms: int) -> Tensor:
    """`[G, E, 3]`, `[M, E, 3]` -> `[M, N, 3, 3]`, symmetric: half of every edge's at each of its ends."""
    outer = edge_vectors[..., :, None] * gradients[..., None, :] + gradients[..., :, None] * edge_vectors[..., None, :]
    half = -0.25 * outer
    shares = half.new_zeros(len(half), n_atoms, 3, 3)
    return shares.index_add_(1, edge_index[0], half).index_add_(1, edge_index[1], half)
