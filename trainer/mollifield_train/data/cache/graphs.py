"""Graphs from a cache, and how a training gets at them."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...processes import n_cores
from ..batches import Graph, make_graph, type_columns, types_of
from ..files import find_files
from ..frames import Reading, label_names, require_groups
from ..graph_sets import GraphSet
from ..keys import joined
from ..origins import require_files
from .building import require_shards
from .shard import open_shard
from .source import source_of
from .stored import Store, StoredFrames


def stored_frame_sets(
    sets: Sequence[str | Path | Sequence[str | Path]],
    reading: Reading,
    cutoff: tuple[float, float],
    cache: Path,
    workers: int | None,
    progress: bool,
) -> list[StoredFrames]:
    """Frames of several sets of files from `cache`, where those that are missing are put first.

    `cutoff`: of the edges, and the skin beyond it, in Å. `workers`: processes that fill the cache; None for as many as
    there are cores. Raises ValueError as `data.frames.read_frame_sets`, and for atoms on top of each other.
    """
    files = [find_files(paths) for paths in sets]
    every = [path for paths in files for path in paths]
    if reading.all_origins:
        require_files(reading.origins, every)
    cache = cache.absolute()
    sources = [source_of(path, reading, *cutoff, cache, progress) for path in every]
    shards = require_shards(sources, cache, workers or n_cores(), progress)
    store = Store(sources, shards, reading)
    parts = iter(store.presences)
    found = [
        (source.origin, joined(str(source.path), [next(parts) for _ in group]))
        for source, group in zip(sources, shards, strict=True)
    ]
    label_names(found, reading.keys)
    require_groups(reading.group_weights, store.of_files(0, len(every)))
    ends = np.cumsum([0, *map(len, files)]).tolist()
    return [store.of_files(start, end) for start, end in itertools.pairwise(ends)]


class StoredGraphs(GraphSet):
    """Graphs of frames in a cache, each read when it is asked for."""

    def __init__(
        self, frames: StoredFrames, species: Sequence[str], cutoff: tuple[float, float], with_nearby: bool = True
    ) -> None:
        """For a model of these `species`, as `build_graphs` makes them. Raises ValueError on an unknown species."""
        self._store = frames.store
        self._numbers = frames.numbers
        self._columns = type_columns(species)
        strange = [k for k, atoms in enumerate(self._store.compositions) if not set(species).issuperset(atoms)]
        met = self._numbers[np.isin(self._store.columns["composition"][self._numbers], strange)]
        if len(met):
            types_of(self._store.load(int(met[0]))[0], self._columns)  # which says what is strange
        self._cutoff = cutoff
        self._with_nearby = with_nearby

    @property
    def frames(self) -> StoredFrames:
        """As `GraphSet`, like all that follows."""
        return StoredFrames(self._store, self._numbers)

    @property
    def n_edges(self) -> np.ndarray:
        """Of each: [graphs] int64."""
        return self._store.columns["n_edges"][self._numbers].astype(np.int64)

    def shortest(self) -> Mapping[tuple[str, str], float]:
        """Å: of atoms of each two elements."""
        found: dict[tuple[str, str], float] = {}
        wanted = np.zeros(len(self._store), dtype=bool)
        wanted[self._numbers] = True
        start = 0
        for path, end in zip(self._store.paths, self._store.shard_ends.tolist(), strict=True):
            shard = open_shard(path)
            if shard is None:
                raise ValueError(f"{path}: damaged or gone; start again: it will be made again")
            pairs = shard.pairs[wanted[start:end][shard.pairs["frame"]]]
            for number, elements in enumerate(shard.elements):
                distance = float(pairs["distance"][pairs["pair"] == number].min(initial=np.inf))
                found[elements] = min(distance, found.get(elements, np.inf))
            start = end
        return {elements: distance for elements, distance in found.items() if np.isfinite(distance)}

    def graph(self, k: int) -> Graph:
        """The k-th, from disk."""
        frame, edge_index, edge_vectors = self._store.load(int(self._numbers[k]))
        types = self._columns[frame.numbers]
        return make_graph(frame, k, types, edge_index, edge_vectors, *self._cutoff, self._with_nearby)

    def __len__(self) -> int:
        return len(self._numbers)
