"""Where trials run. A sweep knows `concurrent.futures` only."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path

from ..oracle.workers import WorkerPool
from .config import SweepConfig

MakeExecutor = Callable[[SweepConfig, Path], AbstractContextManager[Executor]]
"""From a config and the sweep's folder to what runs its trials."""


def executor_of(config: SweepConfig, folder: Path) -> AbstractContextManager[Executor]:
    """Processes on this machine that die with the sweep, or the workers of a Dask scheduler."""
    if config.scheduler is None:
        return WorkerPool(config.workers, folder, config.timeout)
    return _dask(config.scheduler)


@contextlib.contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise ValueError("key 'scheduler': needs the package 'distributed': pip install 'mollifield[dask]'") from None
    try:
        client = Client(address, timeout=10.0)
    except (OSError, ValueError) as error:
        raise ValueError(f"key 'scheduler': no Dask scheduler answers at {address}: {error}") from None
    with client:
        yield client.get_executor()
