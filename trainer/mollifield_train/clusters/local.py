"""Processes on this machine."""

from pathlib import Path

from .config import LocalConfig
from .workers import WorkerPool


def executor(settings: LocalConfig, n_workers: int, folder: Path, timeout: float | None) -> WorkerPool:
    """As `clusters.executor_on`."""
    return WorkerPool(n_workers, folder, timeout)
