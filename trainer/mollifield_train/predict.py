"""Energies, forces and virials of a batch, differentiable by the weights where asked.

The trainer's side of `mollifield.contract`: many frames at once, and gradients of gradients.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from mollifield import contract
from mollifield.gradients import differentiate, forces_of, virials_of_frames
from mollifield.neighbours import find_edges

from .data.batches import Batch, Graph, concatenate_edges
from .loss.surface import Displaced, Surface

if TYPE_CHECKING:  # whoever evaluates a file has no need of what models are made of
    from .model.protocol import Potential


class Evaluable(Protocol):
    """What is asked of a model here."""

    n_members: int
    shared_trunk: bool
    dtype: torch.dtype

    def __call__(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """`atomic_energies` and `latent` of `mollifield.contract`."""
        ...


class BatchPrediction(NamedTuple):
    """M members, B frames, N atoms of all frames."""

    energies: Tensor
    """[M, B] float64, eV."""
    forces: Tensor
    """[M, N, 3] model's dtype, eV/Å."""
    virials: Tensor | None
    """[M, B, 3, 3] model's dtype, eV; None unless asked for."""


def predict(
    model: Evaluable, batch: Batch, create_graph: bool = False, virials: bool = False, mean: bool = False
) -> BatchPrediction:
    """Evaluate all members on a batch that lies on the model's device.

    `create_graph` keeps energies and forces differentiable by the weights. With `mean` forces and virials are those of
    the mean over members, with a leading dimension of 1.
    """
    found = differentiate(
        model,
        batch.edge_vectors,
        batch.edge_index,
        batch.types,
        1 if mean else model.n_members,
        model.dtype,
        create_graph,
        model.shared_trunk,
    )
    with torch.enable_grad():
        energies = found.outputs[contract.ATOMIC_ENERGIES]
        per_frame = energies.new_zeros(len(energies), batch.n_frames)
        per_frame = per_frame.index_add(1, batch.frame_of_atom, energies)
        forces = forces_of(found.gradients, batch.edge_index, len(batch.types))
        tensors = None
        if virials:
            frame_of_edge = batch.frame_of_atom[batch.edge_index[0]]
            tensors = virials_of_frames(found.edge_vectors.detach(), found.gradients, frame_of_edge, batch.n_frames)
    if not create_graph:
        per_frame, forces = per_frame.detach(), forces.detach()
        tensors = None if tensors is None else tensors.detach()
    return BatchPrediction(per_frame, forces, tensors)


def mean_of(prediction: BatchPrediction) -> BatchPrediction:
    """The mean over members, with a leading dimension of 1."""
    energies, forces, virials = prediction
    mean = None if virials is None else virials.mean(dim=0, keepdim=True)
    return BatchPrediction(energies.mean(dim=0, keepdim=True), forces.mean(dim=0, keepdim=True), mean)


def first_frames(prediction: BatchPrediction, batch: Batch, n_frames: int) -> tuple[BatchPrediction, Batch]:
    """A batch's first frames, and what was predicted for them."""
    first = batch.first(n_frames)
    virials = None if prediction.virials is None else prediction.virials[:, :n_frames]
    forces = prediction.forces[:, : len(first.types)]
    return BatchPrediction(prediction.energies[:, :n_frames], forces, virials), first


def stress(prediction: BatchPrediction, batch: Batch) -> Tensor:
    """[M, B, 3, 3] in eV/Å^3, ASE's sign: -virial / volume."""
    if prediction.virials is None:
        raise ValueError("the prediction was made without virials")
    return -prediction.virials / batch.volumes[:, None, None]


def displaced_surface(model: "Potential", batch: Batch, create_graph: bool = True) -> Displaced:
    """Energies and their gradients of displaced copies of a batch: [S, N, 3] Å -> [M, S, B] eV, [M, S, N, 3] eV/Å."""

    def surface(displacements: Tensor) -> Surface:
        outputs, gradient = displaced_outputs(model, model.r_max, batch, displacements, create_graph)
        with torch.enable_grad():
            atomic = outputs[contract.ATOMIC_ENERGIES].view(*gradient.shape[:3])
            energies = atomic.new_zeros(*atomic.shape[:2], batch.n_frames)
            energies = energies.index_add(2, batch.frame_of_atom, atomic)
        return Surface(energies, gradient) if create_graph else Surface(energies.detach(), gradient.detach())

    return surface


def displaced_outputs(
    model: Evaluable, r_max: float, batch: Batch, displacements: Tensor, create_graph: bool = True
) -> tuple[contract.Outputs, Tensor]:
    """What a model says of displaced copies of a batch, [S, N, 3] Å, and the gradient of its energies, [M, S, N, 3].

    Outputs are as the contract has them, for S * N atoms, copy by copy. Neighbours are those of the displaced atoms,
    for a displacement may be as long as a bond. They are searched anew only where the frames' lists with a skin
    (`data.nearby`) do not reach so far.
    """
    device = batch.types.device
    vectors, index = _displaced_edges(batch.graphs, displacements.numpy(), r_max)
    index, types = index.to(device), batch.types.repeat(len(displacements))
    found = differentiate(
        model, vectors.to(device), index, types, model.n_members, model.dtype, create_graph, model.shared_trunk
    )
    with torch.enable_grad():
        forces = forces_of(found.gradients, index, len(types))
        return found.outputs, -forces.view(len(forces), len(displacements), -1, 3)


def _displaced_edges(graphs: tuple[Graph, ...], displacements: np.ndarray, r_max: float) -> tuple[Tensor, Tensor]:
    vectors, indices, n_atoms = [], [], []
    for copy in displacements:
        start = 0
        for graph in graphs:
            edge_index, edge_vectors = _edges_of(graph, copy[start : start + graph.n_atoms], r_max)
            vectors.append(edge_vectors)
            indices.append(torch.from_numpy(edge_index))
            n_atoms.append(graph.n_atoms)
            start += graph.n_atoms
    return torch.from_numpy(np.concatenate(vectors)), concatenate_edges(indices, n_atoms)


def _edges_of(graph: Graph, displacement: np.ndarray, r_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges of a displaced frame; a displacement that puts two atoms in one place is shortened.

    The frame itself was checked when it was read, so shortening by a hundredth always ends. The
    chance of it is about 1e-3 Å over the width, for atoms in line with an axis only.
    """
    known = None if graph.nearby is None else graph.nearby.displaced(displacement, r_max)
    if known is not None:
        return known
    frame = graph.frame
    while True:
        try:
            edges = find_edges(frame.positions + displacement, frame.cell, frame.pbc, r_max)
            return edges.edge_index, edges.edge_vectors
        except ValueError:
            displacement = 0.99 * displacement
