"""Processes on this machine."""

from pathlib import Path

from ..oracle.workers import WorkerPool
from .config import LocalConfig


def executor(settings: LocalConfig, n_workers: int, folder: Path, timeout: float | None) -> WorkerPool:
    """As `clusters.executor_on`."""
    return WorkerPool(n_workers, folder, timeout)
