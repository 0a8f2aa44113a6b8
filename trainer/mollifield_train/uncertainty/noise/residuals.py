"""What labels say beyond the mean of a trained committee, beside what its members' spread states of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mollifield import contract, uncertainty
from mollifield.artefact import Artefact
from mollifield.gradients import differentiate
from mollifield.potential import Evaluation, evaluation_of

from ...data.batches import Graph
from ...model.protocol import NoiseFeatured, Potential
from ...progress import counted


@dataclass(frozen=True)
class Residuals:
    """Of frames with forces: N atoms in all, B frames; float64, eV and Å."""

    features: Tensor
    """[T, N, F]: `noise_features` of `mollifield.contract`."""
    n_latent: int
    """Of them, latent ones."""
    l_max: int
    """See `protocol.NoiseFeatured`."""
    n_species: int
    types: Tensor
    """[N]."""
    frame: Tensor
    """[N]: which frame."""
    mean_forces: Tensor
    """[N, 3]."""
    forces: Tensor
    """[N, 3]: label minus mean."""
    forces_spread: Tensor
    """[N, 3, 3]: covariance that the members state; 0 of a single one."""
    sizes: Tensor
    """[B]: atoms."""
    energies: Tensor
    """[B]: label minus mean."""
    energies_spread: Tensor
    """[B]: variance that the members state."""
    has_energy: Tensor
    """[B] bool; without a label the other two are 0."""


def residuals_of(model: Potential, artefact: Artefact, graphs: Sequence[Graph]) -> Residuals:
    """`model` is the one in the file `artefact`, before it was exported. Frames of which not all forces count are left
    out. Raises ValueError for no frame with forces."""
    graphs = [graph for graph in graphs if graph.frame.forces is not None and graph.frame.forces_mask is None]
    if not graphs:
        raise ValueError("no frame has forces: the noise of their labels, and of energies, is told from them")
    l_max = model.give_noise_features() if isinstance(model, NoiseFeatured) else -1
    found = [_of_frame(model, artefact, graph) for graph in counted(graphs, "residuals", total=len(graphs))]
    sizes = torch.tensor([graph.n_atoms for graph in graphs])
    labels = torch.cat([torch.as_tensor(graph.frame.forces) for graph in graphs])
    mean = torch.cat([frame.mean_forces for frame in found])
    has_energy = torch.tensor([graph.frame.energy is not None for graph in graphs])
    energies = [
        0.0 if graph.frame.energy is None else graph.frame.energy - frame.energy
        for graph, frame in zip(graphs, found, strict=True)
    ]
    return Residuals(
        features=torch.cat([frame.features for frame in found], dim=1),
        n_latent=found[0].n_latent,
        l_max=l_max,
        n_species=len(artefact.species),
        types=torch.cat([graph.types for graph in graphs]),
        frame=torch.repeat_interleave(torch.arange(len(graphs)), sizes),
        mean_forces=mean,
        forces=labels - mean,
        forces_spread=torch.cat([frame.covariance for frame in found]),
        sizes=sizes.double(),
        energies=torch.tensor(energies, dtype=torch.float64),
        energies_spread=torch.tensor([frame.energy_variance for frame in found], dtype=torch.float64) * has_energy,
        has_energy=has_energy,
    )


@dataclass(frozen=True)
class _Frame:
    features: Tensor
    n_latent: int
    mean_forces: Tensor
    covariance: Tensor
    energy: float
    energy_variance: float


def _of_frame(model: Potential, artefact: Artefact, graph: Graph) -> _Frame:
    found = differentiate(
        model,
        graph.edge_vectors,
        graph.edge_index,
        graph.types,
        model.n_members,
        model.dtype,
        shared_trunk=model.shared_trunk,
    )
    out: Evaluation = evaluation_of(found, graph.edge_index, graph.types)
    covariance, variance = torch.zeros(graph.n_atoms, 3, 3, dtype=torch.float64), 0.0
    if model.n_members > 1:
        spread = uncertainty.spread(artefact, out)
        covariance, variance = torch.from_numpy(spread.forces_cov), spread.energy_std**2
    features = found.outputs.get(contract.NOISE_FEATURES, found.outputs[contract.LATENT])
    return _Frame(
        features.detach().double(),
        out.latent.shape[2],
        out.forces.mean(0),
        covariance,
        float(out.energies.mean()),
        variance,
    )
