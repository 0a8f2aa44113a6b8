"""A prior on displaced copies of a batch, as losses ask for it; what a frame has at rest is computed once."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.batches import Graph

Evaluate = Callable[[Graph, np.ndarray], tuple[float, np.ndarray]]
"""From a frame and displacements [N, 3] (Å) to the energy (eV) and its gradient [N, 3] (eV/Å) there."""


class PriorSurface:
    """Remembers the frames at rest."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._at_rest: dict[str, tuple[float, np.ndarray]] = {}

    def displaced(self, graphs: Sequence[Graph], displacements: Tensor) -> tuple[Tensor, Tensor]:
        """Displacements [S, N, 3] of all frames' atoms -> energies [1, S, B], gradients [1, S, N, 3], float64.

        Raises ValueError where the prior has no finite answer, naming the frame.
        """
        found = [
            self._of_frame(graph, part)
            for copy in displacements.numpy()
            for graph, part in zip(graphs, np.split(copy, np.cumsum([g.n_atoms for g in graphs])[:-1]), strict=True)
        ]
        energies = torch.tensor([energy for energy, _ in found], dtype=torch.float64)
        gradients = torch.from_numpy(np.concatenate([gradient for _, gradient in found]))
        return energies.view(1, -1, len(graphs)), gradients.view(1, *displacements.shape)

    def _of_frame(self, graph: Graph, displacement: np.ndarray) -> tuple[float, np.ndarray]:
        if displacement.any():
            return self._checked(graph, displacement)
        key = graph.frame.content
        if key not in self._at_rest:
            self._at_rest[key] = self._checked(graph, displacement)
        return self._at_rest[key]

    def _checked(self, graph: Graph, displacement: np.ndarray) -> tuple[float, np.ndarray]:
        energy, gradient = self._evaluate(graph, displacement)
        if not (np.isfinite(energy) and np.isfinite(gradient).all()):
            raise ValueError(f"{graph.frame.origin}: the prior has no finite energy or forces here or nearby")
        return energy, gradient
