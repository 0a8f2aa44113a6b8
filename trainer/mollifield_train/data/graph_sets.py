"""Graphs of a data set, wherever they lie, and what is known of them without looking at each."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import cast, overload

import numpy as np
from torch.utils.data import ConcatDataset, Dataset

from .batches import Graph
from .nearby import shortest_of_pairs
from .summary import Summary


class GraphSet(Sequence[Graph]):
    """A sequence of graphs. They are in memory, or come from a cache (`data.cache`) whenever one is asked for."""

    @property
    @abstractmethod
    def frames(self) -> Sequence[Summary]:
        """Their frames, without loading any."""

    @property
    @abstractmethod
    def n_edges(self) -> np.ndarray:
        """Of each: [graphs] int64."""

    @abstractmethod
    def shortest(self) -> Mapping[tuple[str, str], float]:
        """Å: of atoms of each two elements in any graph, where there are any within the cutoff."""

    @abstractmethod
    def graph(self, k: int) -> Graph:
        """The k-th."""

    @overload
    def __getitem__(self, k: int) -> Graph: ...
    @overload
    def __getitem__(self, k: slice) -> list[Graph]: ...
    def __getitem__(self, k: int | slice) -> Graph | list[Graph]:
        """As of a list; raises IndexError."""
        if isinstance(k, slice):
            return [self.graph(n) for n in range(*k.indices(len(self)))]
        return self.graph(k if 0 <= k < len(self) else range(len(self))[k])

    def __iter__(self) -> Iterator[Graph]:
        return map(self.graph, range(len(self)))


class InMemory(GraphSet):
    """Graphs in a list."""

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self._graphs = graphs

    @property
    def frames(self) -> Sequence[Summary]:
        """As `GraphSet`, like all that follows."""
        return [graph.frame for graph in self._graphs]

    @property
    def n_edges(self) -> np.ndarray:
        """Of each: [graphs] int64."""
        return np.array([graph.edge_index.shape[1] for graph in self._graphs], dtype=np.int64)

    def shortest(self) -> Mapping[tuple[str, str], float]:
        """Å: of atoms of each two elements."""
        found: dict[tuple[str, str], float] = {}
        for graph in self._graphs:
            edges = graph.edge_index.numpy(), graph.edge_vectors.numpy()
            for pair, distance in shortest_of_pairs(graph.frame.numbers, *edges).items():
                found[pair] = min(distance, found.get(pair, np.inf))
        return found

    def graph(self, k: int) -> Graph:
        """The k-th."""
        return self._graphs[k]

    def __len__(self) -> int:
        return len(self._graphs)


def graph_set(graphs: Sequence[Graph]) -> GraphSet:
    """Any sequence of graphs as a set of them."""
    return graphs if isinstance(graphs, GraphSet) else InMemory(graphs)


def one_after_another(*sets: Sequence[Graph]) -> Dataset[Graph]:
    """All of them, for a loader."""
    # A sequence has all that is asked of a `Dataset`, which is no protocol.
    datasets = [cast(Dataset[Graph], graphs) for graphs in sets if graphs]
    return datasets[0] if len(datasets) == 1 else ConcatDataset(datasets)


def shortest_distances(sets: Sequence[GraphSet], species: Sequence[str], r_max: float) -> tuple[tuple[float, ...], ...]:
    """Å, `[n_species, n_species]`: of atoms of each pair of species in any frame; `r_max` where none are nearer."""
    columns = {symbol: k for k, symbol in enumerate(species)}
    shortest = np.full((len(species), len(species)), r_max)
    for graphs in sets:
        for pair, distance in graphs.shortest().items():
            i, j = (columns[symbol] for symbol in pair)
            shortest[i, j] = shortest[j, i] = min(shortest[i, j], distance)
    return tuple(map(tuple, shortest.tolist()))


def average_neighbours(graphs: GraphSet) -> float:
    """Mean number of neighbours of an atom."""
    return int(graphs.n_edges.sum()) / max(sum(frame.n_atoms for frame in graphs.frames), 1)
