"""Where the trajectories of a round start."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import TypeVar

import numpy as np

_STREAM = 11
Frame = TypeVar("Frame")


def start_order(given: Sequence[Frame], found: Sequence[Frame], seed: int, round_: int) -> list[Frame]:
    """All frames, each once, in the order in which the trajectories of a round start from them.

    Frames that the run began with and frames `found` in earlier rounds take turns; who begins changes from round
    to round, so that one trajectory a round comes to both. Arms with equally many frames draw alike.
    """
    rng = np.random.default_rng([seed, _STREAM, round_])
    queues = [[frames[index] for index in rng.permutation(len(frames))] for frames in (given, found)]
    if round_ % 2 == 0:
        queues.reverse()
    missing = object()
    turns = chain.from_iterable(zip_longest(*queues, fillvalue=missing))
    return [frame for frame in turns if frame is not missing]
