"""A run as it goes: a bar for each arm, in the loop's own terminal and in any other (`mollifield status --follow`)."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from .status import lines, status_of
from .store import GIVEN, LABELLED

EVERY = 2.0
"""Seconds between two looks."""
_FORM = "{desc} {n_fmt}/{total_fmt} labels |{bar}| [{elapsed}<{remaining}]"


class Bars:
    """New labels of each arm out of all that its rounds may have, the step it is at, and the time that is left.

    The time is that of the labels to come, at the rate since the bars were opened.
    """

    def __init__(self, status: dict[str, Any], file: TextIO | None = None) -> None:
        total = status["rounds"] * status["batch"]
        arms = {arm: row for arm, row in status["arms"].items() if arm != GIVEN}
        self._bars: dict[str, Any] = {
            arm: tqdm(
                total=total,
                initial=row[LABELLED],
                bar_format=_FORM,
                smoothing=0.0,
                dynamic_ncols=True,
                position=k,
                leave=False,
                file=file or sys.stderr,
            )
            for k, (arm, row) in enumerate(arms.items())
        }

    def show(self, status: dict[str, Any]) -> None:
        """What there is now."""
        start = status["arms"][GIVEN]["next"]
        for arm, bar in self._bars.items():
            row = status["arms"][arm]
            bar.n = row[LABELLED]
            bar.set_description_str(f"{arm}, {row['next'] if start == 'done' else start},", refresh=False)
            bar.refresh()

    def close(self) -> None:
        """Leave the terminal in order."""
        for bar in reversed(self._bars.values()):
            bar.close()


@contextlib.contextmanager
def live(directory: Path, file: TextIO | None = None, every: float = EVERY) -> Iterator[None]:
    """Bars of the run in `directory` while the block runs; nothing where `file` (stderr) is no terminal."""
    if not (file or sys.stderr).isatty():
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(directory, file, every, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(directory: Path, file: TextIO | None, every: float, over: threading.Event) -> None:
    bars = None
    while not over.wait(every):
        # A run that is just being made, or deleted; whoever runs it has the word on what is wrong.
        with contextlib.suppress(ValueError, OSError):
            status = status_of(directory)
            bars = bars or Bars(status, file)
            bars.show(status)
    if bars is not None:
        bars.close()


def follow(directory: Path, every: float = EVERY) -> None:
    """Bars until the run is over or ends, then what `lines` says. Raises ValueError where there is no run."""
    status = status_of(directory)
    with live(directory, every=every):
        while status["state"].startswith("running"):
            time.sleep(every)
            status = status_of(directory)
    print("\n".join(lines(status)))
