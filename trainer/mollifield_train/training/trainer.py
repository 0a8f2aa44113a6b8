"""Lightning's trainer, without what it would do besides."""

from pathlib import Path

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from .ranks import Ranks


def one_device_trainer(
    device: torch.device, epochs: int, validates: bool, folder: Path, shown: lightning.Callback | None, ranks: Ranks
) -> lightning.Trainer:
    """For so many `epochs` (-1: until it is told to stop) of a fit on one device; `folder`: for TensorBoard."""
    return lightning.Trainer(
        accelerator="cuda" if device.type == "cuda" else "cpu",
        devices=1 if device.index is None else [device.index],
        max_epochs=epochs,
        logger=TensorBoardLogger(folder, name="tensorboard", version="") if ranks.is_first else False,
        callbacks=[] if shown is None else [shown],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if validates else 0,
        log_every_n_steps=1,
        plugins=ranks.plugins,
    )
