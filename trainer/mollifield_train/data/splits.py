"""Which frames a model is trained on, and which it is validated with: decided frame by frame, by content.

A frame's side follows from its own geometry and the seed, never from the other frames of the set. So frames that are
added move no other frame to the other side, copies of a frame lie on the same side, and a model that is trained again
with more data is never validated with what it has learnt before.
"""

import hashlib
import math
from collections.abc import Collection, Sequence

from .summary import Frames, Summary

MIN_VALIDATION = 2
"""Validation frames to be expected before any frame is set aside: fewer say too little to be worth their loss."""


def is_validation(content: str, valid_fraction: float, seed: int) -> bool:
    """Whether the frame with this key (`data.content.content_key`) is for validation; pure."""
    return _draw(content, seed) < valid_fraction


def validation_from(valid_fraction: float) -> float:
    """Number of frames from which on some are set aside; infinite for a fraction of zero."""
    return math.ceil(MIN_VALIDATION / valid_fraction - 1e-9) if valid_fraction > 0.0 else math.inf


def split_frames(
    frames: Sequence[Frames], valid_fraction: float, seed: int, trained_on: Collection[str] = ()
) -> tuple[list[Frames], list[Frames]]:
    """(training, validation) frames, each in the order of the input.

    All frames are trained on while there are fewer than `validation_from`. Beyond, `is_validation` decides, so that the
    fraction is met on average; where it would leave one of the sides empty, the frames of the content nearest to
    that side's change over. Frames whose key is in `trained_on` are for training, always, and so are those that hold an
    element which no other training frame has.
    """
    keys = [frame.content for frame in frames]
    draws = {key: _draw(key, seed) for key in keys if key not in trained_on}
    if len(frames) < validation_from(valid_fraction) or not draws:
        return list(frames), []
    chosen = {key for key, draw in draws.items() if draw < valid_fraction}
    if not chosen:
        chosen = {min(draws, key=draws.__getitem__)}
    if chosen == set(keys):
        chosen.discard(max(draws, key=draws.__getitem__))
    chosen = _without_new_elements(frames, keys, chosen)
    pairs = list(zip(frames, keys, strict=True))
    return [f for f, key in pairs if key not in chosen], [f for f, key in pairs if key in chosen]


def _without_new_elements(frames: Sequence[Summary], keys: Sequence[str], chosen: set[str]) -> set[str]:
    """`chosen` less the frames with an element that could then be learnt from nowhere."""
    known = {symbol for f, key in zip(frames, keys, strict=True) if key not in chosen for symbol in f.composition}
    return chosen - {key for f, key in zip(frames, keys, strict=True) if not known.issuperset(f.composition)}


def _draw(content: str, seed: int) -> float:
    """A number in [0, 1) that looks random and never changes."""
    digest = hashlib.sha256(f"{seed} {content}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
