"""Pair springs, fitted once to labelled forces by linear least squares.

    E(r) = Σ_{i<j} u_ab(|r_j - r_i|),    u_ab(d) = Σ_n c_abn exp(-(d - d_n)²/2w²) (1 - (d/d_c)²)³

for species a, b, with centres d_n a width w apart, from half the shortest distance that is met to d_c. Forces are
linear in c, which ridge regression finds from all training forces at once. Bond angles are springs between second
neighbours. The stiffness of such a fit is rough, but needs no other method than that of the labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.batches import Graph
from .springs_config import SpringsConfig
from .surface import Evaluate

RIDGE = 1e-4
"""Over the mean diagonal element of the normal equations."""


class _Basis(NamedTuple):
    centres: np.ndarray
    width: float
    reach: float

    def values(self, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Functions of distances [E] in Å and their derivatives, [E, n] each; zero beyond the reach."""
        x = (d[:, None] - self.centres) / self.width
        bell = np.exp(-0.5 * x**2)
        inside = np.clip(1.0 - (d[:, None] / self.reach) ** 2, 0.0, None)
        slope = bell * (-x / self.width * inside**3 - 6.0 * d[:, None] / self.reach**2 * inside**2)
        return bell * inside**3, slope


def fit_springs(config: SpringsConfig, graphs: Sequence[Graph]) -> Evaluate:
    """Raises ValueError where no frame has forces, or no two atoms of one are within reach."""
    shortest, n_species = [], 0
    for graph in graphs:  # which may be too many to be in memory at once
        n_species = max(n_species, 1 + int(graph.types.max()))
        if graph.frame.forces is not None:
            shortest.append(np.linalg.norm(graph.edge_vectors.numpy(), axis=1).min(initial=np.inf))
    if not shortest:
        raise ValueError("loss.mollifier.prior: springs are fitted to forces, which no training frame has")
    if not min(shortest) < config.reach:
        raise ValueError(f"loss.mollifier.prior.reach: no two atoms of a training frame are within {config.reach:g} Å")
    basis = _Basis(np.arange(0.5 * min(shortest), config.reach, config.spacing), config.spacing, config.reach)
    normal, right = np.zeros((1, 1)), np.zeros(1)
    for graph in graphs:
        if graph.frame.forces is None:
            continue
        atoms = graph.frame.labelled_atoms
        design = _design(graph, basis, n_species)
        design = design.reshape(graph.n_atoms, 3, -1)[atoms].reshape(3 * len(atoms), -1)
        labels = np.asarray(graph.frame.forces)[atoms].ravel()
        normal, right = normal + design.T @ design, right + design.T @ labels
    ridge = RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
    coefficients = np.linalg.solve(normal + ridge, right).reshape(-1, len(basis.centres))

    def evaluate(graph: Graph, displacement: np.ndarray) -> tuple[float, np.ndarray]:
        i, _ = graph.edge_index.numpy()
        vectors, d, pair = _edges(graph, displacement, n_species)
        values, slopes = basis.values(d)
        pull = (slopes * coefficients[pair]).sum(axis=1) / d
        gradient = np.zeros_like(displacement)
        np.add.at(gradient, i, -pull[:, None] * vectors)
        return 0.5 * float((values * coefficients[pair]).sum()), gradient

    return evaluate


def _edges(graph: Graph, displacement: np.ndarray, n_species: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors [E, 3] and lengths [E] of displaced edges, and the pair of species of each, whatever its order."""
    i, j = graph.edge_index.numpy()
    vectors = graph.edge_vectors.numpy() + displacement[j] - displacement[i]
    types = graph.types.numpy()
    pair = np.minimum(types[i], types[j]) * n_species + np.maximum(types[i], types[j])
    return vectors, np.linalg.norm(vectors, axis=1), pair


def _design(graph: Graph, basis: _Basis, n_species: int) -> np.ndarray:
    """Forces [3N, pairs * n] of unit coefficients."""
    i, _ = graph.edge_index.numpy()
    vectors, d, pair = _edges(graph, np.zeros((graph.n_atoms, 3)), n_species)
    _, slopes = basis.values(d)
    design = np.zeros((graph.n_atoms, n_species**2, len(basis.centres), 3))
    np.add.at(design, (i, pair), slopes[:, :, None] * (vectors / d[:, None])[:, None, :])
    return design.transpose(0, 3, 1, 2).reshape(3 * graph.n_atoms, -1)
