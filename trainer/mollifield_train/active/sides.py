"""Which of the loop's frames are trained on and which are for validation."""

from __future__ import annotations

from ..data.splits import is_validation, validation_from
from .config import LoopConfig
from .store import TRAIN, VALIDATION, SideOf, always_train


def side_rule(config: LoopConfig, n_frames: int) -> SideOf:
    """Where frames go that are added to a run with `n_frames` labelled ones.

    Few frames are all trained on. `n_frames` must follow from the config and the round alone, so that
    arms and restarts decide alike; the rest is the frame's content.
    """
    fraction = config.training.valid_fraction
    if n_frames < validation_from(fraction):
        return always_train
    return lambda content: VALIDATION if is_validation(content, fraction, config.seed) else TRAIN
