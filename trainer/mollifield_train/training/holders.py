"""Where the frames of a training are: in memory, or in a cache on disk. Whoever trains sees no difference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..config import TrainConfig
from ..data.batches import build_graphs
from ..data.cache.graphs import StoredGraphs, stored_frame_sets
from ..data.cache.stored import Store, StoredFrame, StoredFrames
from ..data.frames import Frame, read_frame_sets
from ..data.graph_sets import GraphSet, InMemory
from .objective import skin_of


class Holder(Protocol):
    """Where frames are: read from files into memory, or in a cache."""

    def frame_sets(self, progress: bool) -> list[Sequence[Any]]:
        """Frames (`Summary`) of `data.train` and, where it is given, `data.valid`."""
        ...

    def graphs(self, frames: Sequence[Any], species: Sequence[str], progress: bool, with_nearby: bool) -> GraphSet:
        """Of some of these frames, which it has given out."""
        ...


class HeldInMemory:
    """All frames and all graphs in memory."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config

    def frame_sets(self, progress: bool) -> list[Sequence[Frame]]:
        """As `Holder`."""
        return list(read_frame_sets(_paths(self._config), self._config.data.reading(), progress))

    def graphs(self, frames: Sequence[Frame], species: Sequence[str], progress: bool, with_nearby: bool) -> GraphSet:
        """As `Holder`."""
        return InMemory(build_graphs(frames, species, *_cutoff(self._config), progress, with_nearby))


class HeldInCache:
    """Frames and edges in `data.cache`, read when they are needed."""

    def __init__(self, config: TrainConfig, cache: Path) -> None:
        self._config = config
        self._cache = cache
        self._store: Store | None = None

    def frame_sets(self, progress: bool) -> list[Sequence[StoredFrame]]:
        """As `Holder`."""
        data = self._config.data
        cutoff = _cutoff(self._config)
        sets = stored_frame_sets(
            _paths(self._config), data.reading(), cutoff, self._cache, data.cache_workers, progress
        )
        self._store = sets[0].store
        return list(sets)

    def graphs(
        self, frames: Sequence[StoredFrame], species: Sequence[str], progress: bool, with_nearby: bool
    ) -> GraphSet:
        """As `Holder`."""
        assert self._store is not None
        numbers = np.array([frame.k for frame in frames], dtype=np.int64)
        return StoredGraphs(StoredFrames(self._store, numbers), species, _cutoff(self._config), with_nearby)


def holder_of(config: TrainConfig) -> Holder:
    """As `data.cache` says."""
    cache = config.data.cache
    return HeldInMemory(config) if cache is None else HeldInCache(config, Path(cache))


def _paths(config: TrainConfig) -> list[str | list[str]]:
    return [paths for paths in (config.data.train, config.data.valid) if paths is not None]


def _cutoff(config: TrainConfig) -> tuple[float, float]:
    """Of the edges, and the skin beyond it, in Å."""
    return config.model.r_max, skin_of(config.loss, config.model.r_max)
