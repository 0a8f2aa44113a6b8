"""How much each frame counts for each member of a committee."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..config import TrainConfig
from .loading import TrainingData


def frame_weights(config: TrainConfig, data: TrainingData, seeds: Sequence[int]) -> Tensor | None:
    """Of each member's frames, [M, frames], those of a cheap method last; None where all are 1."""
    weight = 1.0 if config.pretrain is None else config.pretrain.weight
    if not config.committee.bootstrap and weight == 1.0:
        return None
    n_frames = len(data.training)
    rows = [bootstrap_weights(n_frames, seed) if config.committee.bootstrap else np.ones(n_frames) for seed in seeds]
    others = np.full((len(seeds), len(data.oracle)), weight)
    return torch.from_numpy(np.concatenate([np.stack(rows), others], axis=1))


def bootstrap_weights(n_frames: int, seed: int) -> np.ndarray:
    """How often each frame is drawn when `n_frames` are drawn with replacement: [n_frames] float64."""
    rng = np.random.default_rng([seed, 2])
    return rng.multinomial(n_frames, np.full(n_frames, 1.0 / n_frames)).astype(np.float64)
