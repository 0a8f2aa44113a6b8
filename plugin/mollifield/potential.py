"""Evaluate an exported model on frames, in Python."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import contract
from .artefact import Artefact
from .gradients import Differentiated, atomic_virials_of, differentiate, forces_of, virial_of
from .neighbours import find_edges


@dataclass(frozen=True)
class Evaluation:
    """What a model says of one frame. M members; leading M is 1 where the mean was asked for."""

    atomic_energies: Tensor
    """[M, N] float64, eV; always all members."""
    energies: Tensor
    """[M] float64, eV; always all members."""
    forces: Tensor
    """[M or 1, N, 3] float64, eV/Å."""
    virial: Tensor
    """[M or 1, 3, 3] float64, eV."""
    latent: Tensor
    """[M, N, L], invariant features; [1, N, L] where members share a trunk."""
    types: Tensor
    """[N] int64, index into the model's `species`."""
    atomic_virials: Tensor | None = None
    """[M or 1, N, 3, 3] float64, eV, symmetric: half of every edge's at each of its ends. None unless asked for."""
    noise_features: Tensor | None = None
    """[M, N, F], or [1, N, F]: see `mollifield.contract`; None where they are `latent`."""


def evaluate_edges(
    artefact: Artefact,
    edge_vectors: Tensor,
    edge_index: Tensor,
    types: Tensor,
    members: bool = False,
    atomic_virials: bool = False,
) -> Evaluation:
    """Energies, forces and virial of one frame given as edges (`mollifield.contract`).

    `edge_vectors [E, 3]` in Å. With `members` forces and virials come for each member; without, their mean over members
    (`gradients.differentiate`).
    """
    device = artefact.device
    edge_index, types = edge_index.to(device), types.to(device)
    found = differentiate(
        artefact.module,
        edge_vectors.to(device),
        edge_index,
        types,
        artefact.n_members if members else 1,
        artefact.dtype,
        shared_trunk=artefact.shared_trunk,
        basis=artefact.basis,
    )
    return evaluation_of(found, edge_index, types, atomic_virials)


def evaluation_of(found: Differentiated, edge_index: Tensor, types: Tensor, atomic_virials: bool = False) -> Evaluation:
    """Sums over the edges of one frame; of a model in training too."""
    vectors, gradients = found.edge_vectors.detach().to(torch.float64), found.gradients.to(torch.float64)
    atomic_energies = found.outputs[contract.ATOMIC_ENERGIES].detach()
    return Evaluation(
        atomic_energies,
        atomic_energies.sum(1),
        forces_of(gradients, edge_index, len(types)),
        virial_of(vectors, gradients),
        found.outputs[contract.LATENT].detach(),
        types,
        atomic_virials_of(vectors, gradients, edge_index, len(types)) if atomic_virials else None,
        found.outputs.get(contract.NOISE_FEATURES),
    )


def evaluate(
    artefact: Artefact,
    symbols: list[str],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    members: bool = False,
    atomic_virials: bool = False,
) -> Evaluation:
    """The same for atoms: `positions [N, 3]` and `cell [3, 3]` (rows) in Å, `pbc [3]`.

    Raises `ValueError` for a species that the model doesn't know, and as `find_edges` does.
    """
    types = types_of(symbols, artefact.species)
    edges = find_edges(positions, cell, pbc, artefact.r_max)
    return evaluate_edges(
        artefact,
        torch.from_numpy(edges.edge_vectors),
        torch.from_numpy(edges.edge_index),
        torch.from_numpy(types),
        members,
        atomic_virials,
    )


def types_of(symbols: list[str], species: list[str]) -> NDArray[np.int64]:
    """Chemical symbols -> indices into `species`; an unknown one is named with its atom."""
    index = {symbol: k for k, symbol in enumerate(species)}
    for atom, symbol in enumerate(symbols):
        if symbol not in index:
            raise ValueError(f"atom {atom} is {symbol}; this model knows {', '.join(species)}")
    return np.array([index[symbol] for symbol in symbols], dtype=np.int64)
