"""Bars for what takes long: nothing is shown of what takes less than two seconds."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

DELAY = 2.0
"""Seconds."""

Item = TypeVar("Item")


def interval() -> float:
    """Seconds between two refreshes of a bar on stderr; a file gets few lines."""
    return 0.5 if sys.stderr.isatty() else 10.0


def counted(
    items: Iterable[Item], what: str, unit: str = "frame", total: int | None = None, shown: bool = True
) -> Iterator[Item]:
    """The items, with a bar on stderr once `DELAY` is over."""
    bar: Any = tqdm(
        items,
        desc=what,
        unit=unit,
        unit_scale=False,
        total=total,
        delay=DELAY,
        mininterval=interval(),
        dynamic_ncols=True,
        leave=False,
        disable=not shown,
        file=sys.stderr,
    )
    with bar:
        yield from bar
