"""What a sweep shows while it works."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from ..progress import DELAY, interval
from .folder import COST, ERRORS, REASON, SweepDirectory
from .table import FORCES


class Progress:
    """A bar of trials from the second second on, the epochs of those that run, and a line for each that ends."""

    PATIENCE = 1.0
    """Seconds between two looks."""

    def __init__(self, directory: SweepDirectory, n_trials: int, n_done: int, report: Callable[[str], None]) -> None:
        self._directory, self._report = directory, report
        self._total, self._initial = max(n_trials, n_done), n_done

    def __enter__(self) -> "Progress":
        self._bar = tqdm(
            desc="sweep",
            total=self._total,
            initial=self._initial,
            unit="trial",
            file=sys.stderr,
            delay=DELAY,
            mininterval=interval(),
            dynamic_ncols=True,
        )
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def finished(self, number: int) -> None:
        """A trial has ended, one way or another."""
        result = self._directory.result(number) or {}
        if REASON in result:
            text = f"failed: {' '.join(result[REASON].split())}"
        else:
            text = f"forces {result[ERRORS][FORCES]:.2f} meV/Å, {result[COST]:.3g} µs/atom"
        with tqdm.external_write_mode(file=sys.stderr):
            self._report(f"trial {number}: {text}")
        self._bar.update(1)

    def show(self, running: Sequence[int]) -> None:
        """Where those that run are."""
        parts = []
        for number in running:
            epochs = self._directory.epochs(number)
            error = epochs[-1].get(f"valid_{FORCES}") if epochs else None
            text = f"epoch {epochs[-1]['epoch']}" if epochs else "starting"
            parts.append(f"{number}: {text}" + (f" {float(error):.4g} meV/Å" if error else ""))
        self._bar.set_postfix_str(", ".join(parts), refresh=False)
        self._bar.update(0)
