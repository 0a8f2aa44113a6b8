"""Where labels are computed. The loop knows `concurrent.futures` only."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from .calculators import OracleConfig
from .workers import WorkerPool

MakeExecutor = Callable[[int], Executor]
"""From the number of workers to what runs them."""
Result = TypeVar("Result")


def local_workers(config: OracleConfig, folder: Path) -> MakeExecutor:
    """Workers on this machine, each with one thread, that die with the loop; they work below `folder`."""
    return partial(WorkerPool, folder=folder, timeout=config.timeout)


def result_or_reason(future: Future[Result]) -> Result | str:
    """What a calculation gave, or why it failed.

    Raises OSError: the disk is full, which no frame is to blame for.
    """
    try:
        return future.result()
    except BrokenExecutor as error:
        return str(error)
    except Exception as error:  # a calculator may raise anything
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return f"{type(error).__name__}: {error}"
