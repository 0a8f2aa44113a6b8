"""The systems of a run: their starting frames, explorers and budgets. A run without `systems` has one, with no name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .config import LoopConfig, SystemConfig
from .explore.config import ExplorerConfig


@dataclass(frozen=True)
class Pool:
    """Systems that share a budget of labels; their candidates are chosen from together."""

    name: str
    """Of the one system that it is for; empty for those that share."""
    systems: tuple[str, ...]
    batch: int
    """Labels in a round, for an arm."""

    @property
    def prefix(self) -> str:
        """Of lines of progress."""
        return f"{self.name}: " if self.name else ""


def systems_of(config: LoopConfig) -> dict[str, SystemConfig]:
    """By name, in the order of the config."""
    if config.systems is not None:
        return config.systems
    assert config.frames is not None  # one of the two is there
    return {"": SystemConfig(frames=config.frames)}


def explorer_of(config: LoopConfig, system: str) -> ExplorerConfig:
    """Who explores a system."""
    return systems_of(config)[system].explorer or config.explorer


def step_length(config: LoopConfig) -> float | None:
    """fs from one step to the next, where it is the same for all systems; else None."""
    lengths = {explorer_of(config, system).step_length for system in systems_of(config)}
    return lengths.pop() if len(lengths) == 1 else None


def pools(config: LoopConfig) -> list[Pool]:
    """Each system is in one; the shared one first."""
    systems = systems_of(config)
    sharing = tuple(name for name, system in systems.items() if system.batch is None)
    shared = [Pool("", sharing, config.batch)] if sharing else []
    return shared + [Pool(name, (name,), own.batch) for name, own in systems.items() if own.batch is not None]


def labels_a_round(config: LoopConfig) -> int:
    """For an arm."""
    return sum(pool.batch for pool in pools(config))


def planned(config: LoopConfig) -> list[str]:
    """The system of each trajectory that every round has."""
    return [system for system in systems_of(config) for _ in range(explorer_of(config, system).n_trajectories)]


def next_to_walk(config: LoopConfig, pool: Pool, walked: Sequence[str]) -> str | None:
    """The system of a pool for a further trajectory after those in `walked`; None where no more are allowed.

    The one that has had the fewest beyond the planned ones, so that systems take turns.
    """
    counts = Counter(walked)
    further = {}
    for system in pool.systems:
        settings = explorer_of(config, system)
        n_further = counts[system] - settings.n_trajectories
        if n_further < settings.extra_trajectories:
            further[system] = n_further
    return min(further, key=further.__getitem__, default=None)
