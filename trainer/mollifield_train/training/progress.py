"""What a run shows while it trains."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import lightning
from tqdm import tqdm

from ..metrics import key_of
from ..progress import interval

QUIET_LOGGERS = ("lightning.pytorch", "lightning.fabric")
QUIET_WARNINGS = (
    ".*does not have many workers.*",  # collating a frame costs microseconds
    ".*smaller than the logging interval.*",  # logs are written once an epoch, by the module
    ".*GPU available but not used.*",  # device: cpu was asked for
    ".*does not have a `_?val(idation)?_dataloader`.*",
    r".*isinstance\(treespec, LeafSpec\).*",
)


class EpochBar(lightning.Callback):
    """One bar for the whole run; errors of the last epoch in meV/atom and meV/Å."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Open the bar where the run stands, in steps, or in the seconds that it may take."""
        n_batches, seconds = trainer.num_training_batches, module.seconds
        n_steps = module.settings.epochs * n_batches
        steps = {"total": n_steps, "initial": module.finished_epochs * n_batches, "unit": "step"}
        time = {"total": round(seconds or 0.0), "initial": round(module.clock.seconds), "unit": "s"}
        self.bar = tqdm(
            desc=self.name,
            **(steps if seconds is None else time),
            file=sys.stderr,
            mininterval=interval(),
            dynamic_ncols=True,
        )

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """One step further, or the seconds that it took."""
        now = self.bar.n + 1 if module.seconds is None else min(self.bar.total, int(module.clock.seconds))
        self.bar.update(now - self.bar.n)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Show the last epoch (Lightning calls this before the module's own hook)."""
        if module.history:
            self.bar.set_postfix_str(summary_line(module.history[-1]), refresh=False)

    def on_train_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Close with the errors of the last epoch."""
        if module.history:
            self.bar.set_postfix_str(summary_line(module.history[-1]))
        self.bar.close()

    def on_exception(self, trainer: lightning.Trainer, module: Any, exception: BaseException) -> None:
        """Leave the terminal in order."""
        if hasattr(self, "bar"):
            self.bar.close()


class MembersBar:
    """One bar for members that are trained at the same time."""

    def __init__(self, n_members: int, shown: bool) -> None:
        self._done = [0.0] * n_members
        self._heard: set[int] = set()
        self._last: list[dict[str, float] | None] = [None] * n_members
        form = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"
        self._bar: Any = tqdm(
            desc=f"{n_members} members",
            total=float(n_members),
            bar_format=form,
            file=sys.stderr,
            mininterval=interval(),
            dynamic_ncols=True,
            disable=not shown,
        )

    def step(self, member: int, done: float) -> None:
        """How much of a member's run is over, from 0 to 1."""
        change = min(done - self._done[member], self._bar.total - self._bar.n)  # sums of parts round
        self._done[member] = done
        if member not in self._heard and not self._bar.disable:
            self._heard.add(member)
            self._bar.initial += change  # done before, in no time
        self._bar.update(change)

    def epoch(self, member: int, row: dict[str, float]) -> None:
        """A member's last finished epoch."""
        self._last[member] = row
        rows = [row for row in self._last if row is not None]
        epochs = " ".join("-" if row is None else f"{row['epoch']:.0f}" for row in self._last)
        mean = {key: sum(row[key] for row in rows) / len(rows) for key in row if all(key in other for other in rows)}
        self._bar.set_postfix_str(f"epochs {epochs}: {', '.join(_errors_of(mean))}", refresh=False)

    def __enter__(self) -> "MembersBar":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal in order."""
        self._bar.close()


def summary_line(row: dict[str, float]) -> str:
    """'epoch 12: train 3.1 meV/atom 81 meV/Å, valid 3.5 meV/atom 90 meV/Å'."""
    return f"epoch {row['epoch']}: {', '.join(_errors_of(row))}"


def _errors_of(row: dict[str, float]) -> list[str]:
    parts = []
    for part in ("train", "valid"):
        shown = [
            f"{row[key]:.{digits}g} {unit}"
            for quantity, digits, unit in (("energy", 3, "meV/atom"), ("forces", 4, "meV/Å"))
            if (key := f"{part}_{key_of(quantity, 'rmse')}") in row
        ]
        if shown:
            parts.append(" ".join([part, *shown]))
    return parts


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """No banners and no advice from Lightning inside the block; errors still speak."""
    loggers = [logging.getLogger(name) for name in QUIET_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message in QUIET_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
