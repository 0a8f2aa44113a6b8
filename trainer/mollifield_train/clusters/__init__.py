"""Where calls run: one place that makes a `concurrent.futures.Executor` of what a config says.

The loop's labels, the trials of a sweep and the members of a committee all ask it, and know executors alone. Another
kind is a section (`config`), a function that makes the executor, and a line in the table.
"""

from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

from pydantic import SerializeAsAny

from ..section import Kind, Tagged, imported_late
from .config import ClusterConfig, DaskConfig, LocalConfig, SlurmConfig

__all__ = ["CLUSTERS", "DEFAULT_CLUSTER", "Cluster", "LocalConfig", "executor_on"]

CLUSTERS: dict[str, Kind] = {
    "local": Kind(LocalConfig, imported_late(f"{__name__}.local", "executor")),
    "dask": Kind(DaskConfig, imported_late(f"{__name__}.dask", "executor")),
    "slurm": Kind(SlurmConfig, imported_late(f"{__name__}.slurm", "executor")),
}
"""By the `kind` of the config: its class, and what makes an executor of it."""

DEFAULT_CLUSTER = "local"
"""Of a config without `kind`."""

Cluster = Annotated[SerializeAsAny[ClusterConfig], Tagged(CLUSTERS, DEFAULT_CLUSTER)]
"""In a config: one of the table, by its `kind`."""


def executor_on(
    settings: ClusterConfig, n_workers: int, folder: Path, timeout: float | None
) -> AbstractContextManager[Executor]:
    """What runs `n_workers` calls at a time, one thread each, every call in an empty folder; to be used in a `with`.

    `folder`: of the run, for what workers leave while they work. `timeout`: seconds for a call, where the workers are
    of this machine; elsewhere none is kept. Functions and arguments must be picklable, and what runs elsewhere must
    find this package there, and a file system that it shares with this machine. Raises ValueError where a package is
    missing, or nobody answers.
    """
    made: AbstractContextManager[Executor] = CLUSTERS[settings.kind].make(settings, n_workers, folder, timeout)
    return made
