"""Seeded splits of labelled frames."""

from collections.abc import Sequence

import numpy as np

from .frames import Frame


def split_frames(
    frames: Sequence[Frame], valid_fraction: float, seed: int
) -> tuple[list[Frame], list[Frame]]:
    """(training, validation) frames; the same seed and frames give the same split.

    A positive fraction takes at least one frame for validation, and leaves at least one to train on.
    Order inside each part follows the input.
    """
    n_valid = 0
    if valid_fraction > 0.0 and len(frames) > 1:
        n_valid = min(max(1, round(valid_fraction * len(frames))), len(frames) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(frames))[:n_valid].tolist())
    training = [frame for k, frame in enumerate(frames) if k not in chosen]
    return training, [frame for k, frame in enumerate(frames) if k in chosen]
