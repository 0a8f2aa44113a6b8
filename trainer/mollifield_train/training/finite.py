"""Losses that are not finite end a run, with the frames of their batch named, and without waiting for a GPU."""

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.batches import Batch
from .ranks import STAND_IN, Ranks

LAG = 4
"""Steps after which a GPU is asked how one went: by then it has long been done."""


class _Step(NamedTuple):
    finite: Tensor
    """[M] bool, on the host; a GPU may still have to write it."""
    written: torch.cuda.Event | None
    origins: list[str]
    when: str


class FiniteLosses:
    """Looks at the losses of every step: on the CPU at once, on a GPU some steps later, and at the end of an epoch."""

    def __init__(self, ranks: Ranks, lag: int | None = None) -> None:
        """`lag`: so many steps later, whatever the device."""
        self._ranks, self._lag = ranks, lag
        self._steps: deque[_Step] = deque()

    def add(self, losses: Tensor, batch: Batch, when: str) -> None:
        """Losses [M] of a step, of the whole batch; raises ValueError where a step that is due had one not finite."""
        finite = torch.empty(losses.shape, dtype=torch.bool, pin_memory=losses.is_cuda)
        finite.copy_(torch.isfinite(losses), non_blocking=True)
        written = None
        if losses.is_cuda:
            written = torch.cuda.Event()
            written.record()
        origins = [graph.frame.origin for graph in batch.graphs if graph.index != STAND_IN]
        self._steps.append(_Step(finite, written, origins, when))
        lag = self._lag if self._lag is not None else LAG * losses.is_cuda
        while len(self._steps) > lag:  # the same on all ranks, which must raise together
            self._require(self._steps.popleft())

    def require_all(self) -> None:
        """Of the steps that are left too."""
        while self._steps:
            self._require(self._steps.popleft())

    def _require(self, step: _Step) -> None:
        if step.written is not None:
            step.written.synchronize()
        finite = step.finite.numpy()
        if finite.all():
            return
        parts = self._ranks.gathered(step.origins)
        raise ValueError(
            f"loss is not finite at {step.when} (members {', '.join(map(str, (~finite).nonzero()[0]))}; "
            f"{', '.join(origin for part in parts for origin in part)}); "
            "lower optimiser.learning_rate, or set optimiser.gradient_clip"
        )
