"""Where labels are computed (`clusters`), and what came of a call."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..clusters import executor_on
from .calculators import OracleConfig

MakeExecutor = Callable[[int], AbstractContextManager[Executor]]
"""From the number of workers to what runs them."""
Result = TypeVar("Result")


def oracle_workers(config: OracleConfig, folder: Path) -> MakeExecutor:
    """Workers where the config says, each with one thread; what they leave while they work is below `folder`."""
    return partial(executor_on, config.cluster, folder=folder, timeout=config.timeout)


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
