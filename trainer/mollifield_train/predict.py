"""Energies, forces and virials of a batch, differentiable by the weights where asked.

The trainer's side of `mollifield.contract`: many frames at once, and gradients of gradients.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mollifield import contract
from mollifield.neighbours import find_edges

from .data.batches import Batch, Graph, concatenate_edges
from .loss.mollifier import Gradient


class BatchPrediction(NamedTuple):
    """M members, B frames, N atoms of all frames."""

    energies: Tensor
    """[M, B] float64, eV."""
    forces: Tensor
    """[M, N, 3] model's dtype, eV/Å."""
    virials: Tensor | None
    """[M, B, 3, 3] model's dtype, eV; None unless asked for."""


def predict(model: nn.Module, batch: Batch, create_graph: bool = False, virials: bool = False) -> BatchPrediction:
    """Evaluate all members on a batch that lies on the model's device.

    `create_graph` keeps energies and forces differentiable by the weights.
    """
    with torch.enable_grad():
        energies, vectors, gradients = _edge_gradients(
            model, batch.edge_vectors, batch.edge_index, batch.types, create_graph
        )
        n_frames = batch.n_frames
        per_frame = energies.new_zeros(len(energies), n_frames)
        per_frame = per_frame.index_add(1, batch.frame_of_atom, energies)
        forces = _forces(gradients, batch.edge_index, len(batch.types))
        tensors = None
        if virials:
            outer = -vectors.detach().unsqueeze(-1) * gradients.unsqueeze(-2)
            tensors = outer.new_zeros(len(energies), n_frames, 3, 3)
            tensors = tensors.index_add(1, batch.frame_of_atom[batch.edge_index[0]], outer)
    if not create_graph:
        per_frame, forces = per_frame.detach(), forces.detach()
        tensors = None if tensors is None else tensors.detach()
    return BatchPrediction(per_frame, forces, tensors)


def stress(prediction: BatchPrediction, batch: Batch) -> Tensor:
    """[M, B, 3, 3] in eV/Å^3, ASE's sign: -virial / volume."""
    if prediction.virials is None:
        raise ValueError("the prediction was made without virials")
    return -prediction.virials / batch.volumes[:, None, None]


def displaced_gradient(model: nn.Module, batch: Batch, create_graph: bool = True) -> Gradient:
    """∂Ê/∂r of displaced copies of a batch: [S, N, 3] Å -> [M, S, N, 3] eV/Å.

    Neighbour lists are made anew for each displaced frame: a displacement may be as long as a bond.
    """

    def gradient(displacements: Tensor) -> Tensor:
        n_copies = len(displacements)
        device = batch.types.device
        vectors, index = _displaced_edges(batch.graphs, displacements.numpy(), float(model.r_max))
        types = batch.types.repeat(n_copies)
        with torch.enable_grad():
            energies, _, gradients = _edge_gradients(model, vectors.to(device), index.to(device), types, create_graph)
            forces = _forces(gradients, index.to(device), len(types))
        return -forces.view(len(energies), n_copies, -1, 3)

    return gradient


def _edge_gradients(
    model: nn.Module, edge_vectors: Tensor, edge_index: Tensor, types: Tensor, create_graph: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Atomic energies [M, N], edge vectors and dE/d(edge vectors) [M, E, 3] of each member.

    Each member gets its own copy of the geometry, so the gradient of the sum over members holds
    every member's own gradient.
    """
    dtype = next(model.parameters()).dtype
    vectors = edge_vectors.to(dtype).expand(model.n_members, -1, -1).clone().requires_grad_()
    energies = model(vectors, edge_index, types)[contract.ATOMIC_ENERGIES]
    (gradients,) = torch.autograd.grad(energies.sum(), vectors, create_graph=create_graph)
    return energies, vectors, gradients


def _forces(gradients: Tensor, edge_index: Tensor, n_atoms: int) -> Tensor:
    """F_i = sum of g over edges with centre i, less sum over edges with neighbour i."""
    forces = gradients.new_zeros(len(gradients), n_atoms, 3)
    return forces.index_add(1, edge_index[0], gradients).index_add(1, edge_index[1], -gradients)


def _displaced_edges(graphs: tuple[Graph, ...], displacements: np.ndarray, r_max: float) -> tuple[Tensor, Tensor]:
    vectors, indices, n_atoms = [], [], []
    for copy in displacements:
        start = 0
        for graph in graphs:
            edges = _edges_of(graph, copy[start : start + graph.n_atoms], r_max)
            vectors.append(edges.edge_vectors)
            indices.append(torch.from_numpy(edges.edge_index))
            n_atoms.append(graph.n_atoms)
            start += graph.n_atoms
    return torch.from_numpy(np.concatenate(vectors)), concatenate_edges(indices, n_atoms)


def _edges_of(graph: Graph, displacement: np.ndarray, r_max: float):
    """Edges of a displaced frame; a displacement that puts two atoms in one place is shortened.

    The frame itself was checked when it was read, so shortening by a hundredth always ends. The
    chance of it is about 1e-3 Å over the width, for atoms in line with an axis only.
    """
    frame = graph.frame
    while True:
        try:
            return find_edges(frame.positions + displacement, frame.cell, frame.pbc, r_max)
        except ValueError:
            displacement = 0.99 * displacement
