"""How energies and forces depend on the weights of the last layer, and what labels say beyond the trained ones.

Letters: F weights; N atoms. With features phi_E [F] of a frame (eV, the sum over its atoms) energies are
E = E_0 + phi_E . v and forces F = F_0 + Phi_F v, Phi_F = -d phi_E / dr, for weights that are v away from the trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mollifield import contract
from mollifield.gradients import forces_of

from ..data.batches import Batch, Graph, collate
from ..model.protocol import LastLayeredPotential
from ..progress import counted

BATCH_ATOMS = 400
"""Of the frames that are evaluated at once."""


@dataclass(frozen=True)
class FrameFeatures:
    """One frame; float64. What has no label has no residual."""

    types: Tensor
    """[N] int64."""
    energy: Tensor
    """[F], eV."""
    forces: Tensor
    """[N, 3, F], eV/Å."""
    energy_residual: float | None
    """eV: label minus the trained model's."""
    forces_residual: Tensor | None
    """[N, 3], eV/Å: likewise."""


def features_of(
    model: LastLayeredPotential, graphs: Sequence[Graph], what: str = "features of the last layer"
) -> list[FrameFeatures]:
    """Features and residuals of labelled frames, by F + 1 backward passes through the trunk of a single member."""
    found: list[FrameFeatures] = []
    groups = _groups(graphs)
    for group in counted(groups, what, unit="batch", total=len(groups)):
        found += _features_of_batch(model, collate(group))
    return found


def _groups(graphs: Sequence[Graph]) -> list[list[Graph]]:
    """For a batch each, in their order."""
    groups: list[list[Graph]] = []
    n_atoms = BATCH_ATOMS
    for graph in graphs:
        if n_atoms + graph.n_atoms > BATCH_ATOMS:
            groups.append([])
            n_atoms = 0
        groups[-1].append(graph)
        n_atoms += graph.n_atoms
    return groups


def _features_of_batch(model: LastLayeredPotential, batch: Batch) -> list[FrameFeatures]:
    vectors = batch.edge_vectors.to(model.dtype).unsqueeze(0).clone().requires_grad_()
    with torch.enable_grad():
        outputs = model(vectors, batch.edge_index, batch.types)
        scale = model.energy_scale[0].to(model.dtype)
        features = model.last_layer_features(outputs[contract.LATENT]) * scale
        atomic = outputs[contract.ATOMIC_ENERGIES][0]
        columns = [*features.sum(dim=0), atomic.sum()]
        forces = torch.stack([_forces(column, vectors, batch) for column in columns], dim=2)
    per_frame = torch.zeros(batch.n_frames, features.shape[1] + 1, dtype=torch.float64)
    values = torch.cat([features.detach().double(), atomic.detach()[:, None]], dim=1)
    per_frame.index_add_(0, batch.frame_of_atom, values)
    sizes = batch.n_atoms.tolist()
    parts = zip(batch.graphs, per_frame, forces.split(sizes), strict=True)
    return [_of_frame(graph, energy, force) for graph, energy, force in parts]


def _forces(energy: Tensor, vectors: Tensor, batch: Batch) -> Tensor:
    (gradient,) = torch.autograd.grad(energy, vectors, retain_graph=True, allow_unused=True)
    gradient = torch.zeros_like(vectors) if gradient is None else gradient
    return forces_of(gradient.double(), batch.edge_index, len(batch.types))[0]


def _of_frame(graph: Graph, energy: Tensor, forces: Tensor) -> FrameFeatures:
    """The last column is the trained model's own energy and forces.

    Of forces that do not count features and residuals are zero, which say nothing.
    """
    frame = graph.frame
    if frame.forces_mask is not None:
        forces = forces * torch.from_numpy(frame.forces_mask)[:, None, None]
    labels = frame.forces
    if labels is not None and frame.forces_mask is not None:
        labels = np.where(frame.forces_mask[:, None], labels, 0.0)
    return FrameFeatures(
        types=graph.types,
        energy=energy[:-1],
        forces=forces[..., :-1].contiguous(),
        energy_residual=None if frame.energy is None else frame.energy - float(energy[-1]),
        forces_residual=None if labels is None else torch.from_numpy(labels) - forces[..., -1],
    )
