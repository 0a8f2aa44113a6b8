"""What is said of how a barrier is learnt."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat

from ..oracle import CALCULATORS, DEFAULT_CALCULATOR, Oracle
from ..section import Section
from .config import WarmConfig

Files = str | Annotated[list[str], Field(min_length=1)]


class LearnConfig(Section):
    """What `mollifield property neb --learn` may be told."""

    oracle: Oracle = Field(default_factory=CALCULATORS[DEFAULT_CALCULATOR].section)
    """Who labels, as the loop's `oracle`: the method that labelled the frames which the model was trained on."""
    budget: Annotated[int, Field(ge=2)] = 20
    """Labels at most."""
    batch: Annotated[int, Field(ge=3)] = 4
    """Labels of a round: the first and the highest image, and the most uncertain others."""
    tolerance: PositiveFloat = 0.02
    """eV: of half the barrier's interval, and of its difference from the oracle's at the same two images."""
    warm: WarmConfig = Field(default_factory=WarmConfig)
    """Of each training, which begins from the weights before it; all else is as the model was trained."""
    train: Files | None = None
    """The frames that the model was trained on; null: those that its own config names."""
    calibrate: Files | None = None
    """Labelled frames that no training saw, by which each new model is calibrated; null: error bars are the members'
    spread as it comes."""
