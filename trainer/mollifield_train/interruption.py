"""Ctrl-C and SIGTERM: an exception that says which, so that what is open is closed and what is kept is named."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """SIGINT or SIGTERM. No KeyboardInterrupt: Lightning turns that into exit status 1.

    `kept` says what of the work is on disk, and how to go on; empty where nobody has said.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signal.Signals(signum)
        self.kept = ""

    @property
    def exit_status(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, as shells have it."""
        return 128 + self.signum


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Signals raise `Interrupted` inside the block: the first one; closing down is not interrupted.

    A signal that was ignored before (Ctrl-C, in what a shell puts into the background) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    for signum in SIGNALS:
        if before[signum] is not signal.SIG_IGN:
            signal.signal(signum, _interrupt)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # see `processes.starting_children`
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def naming_what_is_kept(kept: Callable[[], str]) -> Iterator[None]:
    """Put `kept()` into an `Interrupted` that leaves the block."""
    try:
        yield
    except Interrupted as interrupted:
        interrupted.kept = kept()
        raise


def _interrupt(signum: int, frame: Any) -> None:
    for each in SIGNALS:
        signal.signal(each, _do_nothing)
    raise Interrupted(signum)


def _do_nothing(signum: int, frame: Any) -> None:
    """Unlike SIG_IGN, not inherited by programs."""
