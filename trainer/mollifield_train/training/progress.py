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

    def __init__(self, name: str, n_epochs: int, seconds: float | None = None) -> None:
        """Of a fit of `n_epochs`, or of `seconds`, which are then what it counts."""
        self.name = name
        self.n_epochs = n_epochs
        self.seconds = seconds

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Open the bar where the run stands."""
        n_batches = trainer.num_training_batches
        steps = {"total": self.n_epochs * n_batches, "initial": module.finished_epochs * n_batches, "unit": "step"}
        time = {"total": round(self.seconds or 0.0), "initial": round(module.clock.seconds), "unit": "s"}
        self.bar = tqdm(
            desc=self.name,
            **(steps if self.seconds is None else time),
            file=sys.stderr,
            mininterval=interval(),
            dynamic_ncols=True,
        )

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """One step further, or the seconds that it took."""
        self.bar.update(1 if self.seconds is None else min(self.bar.total, int(module.clock.seconds)) - self.bar.n)

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


def summary_line(row: dict[str, float]) -> str:
    """'epoch 12: train 3.1 meV/atom 81 meV/Å, valid 3.5 meV/atom 90 meV/Å'."""
    parts = []
    for part in ("train", "valid"):
        shown = [
            f"{row[key]:.{digits}g} {unit}"
            for quantity, digits, unit in (("energy", 3, "meV/atom"), ("forces", 4, "meV/Å"))
            if (key := f"{part}_{key_of(quantity, 'rmse')}") in row
        ]
        if shown:
            parts.append(" ".join([part, *shown]))
    return f"epoch {row['epoch']}: {', '.join(parts)}"


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
