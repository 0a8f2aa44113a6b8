"""Workers of Dask: those of a scheduler somewhere, or of one on this machine."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from .config import DaskConfig

ANSWERING = 10.0
"""Seconds for a scheduler to answer."""


@contextlib.contextmanager
def executor(settings: DaskConfig, n_workers: int, folder: Path, timeout: float | None) -> Iterator[Executor]:
    """As `clusters.executor_on`."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise ValueError("cluster 'dask': needs the package 'distributed': pip install 'mollifield[dask]'") from None
    if settings.address is None:
        # Daemons may have no children, which trainings and calculators want.
        with (
            dask.config.set({"distributed.worker.daemon": False}),
            LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            of_client(Client(cluster)) as found,
        ):
            yield found
        return
    try:
        client = Client(settings.address, timeout=ANSWERING)
    except (OSError, ValueError) as error:
        raise ValueError(f"cluster 'dask': no scheduler answers at {settings.address}: {error}") from None
    with of_client(client) as found:
        yield found


@contextlib.contextmanager
def of_client(client: Any) -> Iterator[Executor]:
    """The workers of a `distributed.Client`, which is closed with the block."""
    with client:
        # Not pure: a call that is made again, because its worker died, is to be made again.
        yield _InEmptyFolders(client.get_executor(pure=False))


class _InEmptyFolders(Executor):
    """As workers of this machine have them: calculators that write files use the same names for every frame."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        return self._inner.submit(in_empty_folder, function, *arguments)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._inner.shutdown(wait=wait, cancel_futures=cancel_futures)


def in_empty_folder(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a new folder, of the worker's own disk."""
    before, folder = Path.cwd(), tempfile.mkdtemp()
    os.chdir(folder)
    try:
        return function(*arguments)
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)
