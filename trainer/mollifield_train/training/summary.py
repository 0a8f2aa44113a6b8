"""What a model file says of its training, for people."""

import datetime
import platform
from typing import Any

import ase
import lightning
import torch

from mollifield import __version__

from ..config import TrainConfig


def summary_of(config: TrainConfig, metrics: dict[str, Any]) -> dict[str, Any]:
    """When, with which settings and versions a model was trained, and how far it got."""
    now = datetime.datetime.now(datetime.timezone.utc)
    versions = {
        "mollifield": __version__,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "ase": ase.__version__,
        "python": platform.python_version(),
    }
    return {
        "date": now.isoformat(timespec="seconds"),
        "metrics": metrics,
        "config": config.model_dump(mode="json"),
        "versions": versions,
    }
