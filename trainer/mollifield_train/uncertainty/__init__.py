"""Posteriors of the last layer, as samples on one trunk; a file for each kind, and a line in the table.

A kind draws deviations of the last layer's weights, given the posterior and the frames that it was made of. Another one
may also be a `Kind` of a module of your own, named by its import path (docs/howto/extend.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..kinds import Kinds
from .features import FrameFeatures
from .laplace import laplace
from .last_layer import Posterior
from .pops import pops

Draw = Callable[[Posterior, Sequence[FrameFeatures], int, torch.Generator], Tensor]
"""`(posterior, frames, n, generator) -> [n, F]`; the negatives of all n are samples too (`draws.antithetic`)."""


@dataclass(frozen=True)
class Kind:
    """What a file of this folder offers."""

    draw: Draw
    looks_at_frames: bool
    """All of them, at every draw; a posterior that does not can be updated with further ones alone."""


KINDS = Kinds({"laplace": Kind(laplace, looks_at_frames=False), "pops": Kind(pops, looks_at_frames=True)}, of=Kind)
"""By name."""
