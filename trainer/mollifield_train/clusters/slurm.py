"""Jobs of Slurm, by dask-jobqueue: a job is one Dask worker, whose scheduler is here."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from .config import SlurmConfig
from .dask import of_client

LOGS = "slurm"
"""Folder of the jobs' output, in the run's."""


@contextlib.contextmanager
def executor(settings: SlurmConfig, n_workers: int, folder: Path, timeout: float | None) -> Iterator[Executor]:
    """As `clusters.executor_on`: `n_workers` jobs."""
    try:
        from dask_jobqueue import SLURMCluster
        from distributed import Client
    except ModuleNotFoundError:
        raise ValueError("cluster 'slurm': needs the package 'dask-jobqueue': pip install 'mollifield[dask]'") from None
    options = {"dashboard_address": ":0"}
    with SLURMCluster(scheduler_options=options, **job_options(settings, folder)) as cluster:
        cluster.scale(jobs=n_workers)
        with of_client(Client(cluster)) as found:
            yield found


def job_options(settings: SlurmConfig, folder: Path) -> dict[str, Any]:
    """What dask-jobqueue is told of a job: one worker with one thread of Dask's, and all cores for what it calls."""
    threads = [f"export {name}={settings.cores}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
    # Daemons may have no children, which trainings and calculators want.
    daemon = "export DASK_DISTRIBUTED__WORKER__DAEMON=False"
    return {
        "queue": settings.queue,
        "account": settings.account,
        "cores": 1,
        "processes": 1,
        "job_cpu": settings.cores,
        "memory": settings.memory,
        "walltime": settings.walltime,
        "job_extra_directives": settings.directives,
        "job_script_prologue": [*settings.prologue, *threads, daemon],
        "log_directory": str(folder.resolve() / LOGS),
        "job_name": "mollifield",
    }
