"""Learning rate, moving average and patience: small states that a checkpoint can hold."""

import math
import time
from collections.abc import Callable
from typing import Any, ClassVar, ParamSpec, TypeVar

import torch
from torch import Tensor

FLOOR = 0.01
"""Last learning rate of the cosine schedule over the first."""


PATIENT_ABOVE = 0.1
"""Learning rate over the first one, below which a falling schedule leaves little to wait for."""


def cosine_rate(initial: float, progress: float) -> float:
    """Half a cosine from `initial` to FLOOR * initial, for a `progress` from 0 to 1."""
    progress = min(1.0, progress)
    return initial * (FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * progress)))


class Clock:
    """Seconds that a fit has run, those before a continuation included."""

    now: "ClassVar[staticmethod[[], float]]" = staticmethod(time.perf_counter)
    """What counts: wall time; on a machine that is shared, a benchmark puts `time.process_time` here."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._started: float | None = None

    def start(self) -> None:
        """From now on it runs."""
        self._started = self.now()

    def agree(self) -> None:
        """A step begins, in which all who train together go by the same time."""

    @property
    def seconds(self) -> float:
        """By now."""
        return self._before + (0.0 if self._started is None else self.now() - self._started)


class MovingAverage:
    """Exponential moving average of weights, s <- d s + (1 - d) w.

    The decay starts small, d = min(decay, (1 + n)/(10 + n)) after n steps, so that the random
    initial weights are soon forgotten.
    """

    def __init__(self, parameters: dict[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.n_steps = 0
        self.shadow = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: dict[str, Tensor]) -> None:
        """Take in the weights after a step."""
        self.n_steps += 1
        decay = min(self.decay, (1.0 + self.n_steps) / (10.0 + self.n_steps))
        shadow = list(self.shadow.values())
        torch._foreach_lerp_(shadow, [parameters[name] for name in self.shadow], 1.0 - decay)

    @torch.no_grad()
    def swap(self, parameters: dict[str, Tensor]) -> None:
        """Exchange the average with the weights; a second call undoes it."""
        for name, shadow in self.shadow.items():
            kept = shadow.clone()
            shadow.copy_(parameters[name])
            parameters[name].copy_(kept)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"n_steps": self.n_steps, "shadow": self.shadow}

    def load(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.n_steps = state["n_steps"]
        for name, shadow in self.shadow.items():
            shadow.copy_(state["shadow"][name])


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def between(swap: Callable[[], None], function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function that runs with weights swapped, and swaps them back."""

    def swapped(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        swap()
        try:
            return function(*arguments, **named)
        finally:
            swap()

    return swapped


class Plateau:
    """Halves the learning rate when a loss stops falling; the lowest rate is FLOOR of the first."""

    def __init__(self, patience: int) -> None:
        self.patience = max(1, patience)
        self.best = math.inf
        self.waited = 0
        self.factor = 1.0

    def update(self, loss: float) -> None:
        """Take in an epoch's loss."""
        if loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.factor, self.waited = max(FLOOR, 0.5 * self.factor), 0

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"best": self.best, "waited": self.waited, "factor": self.factor}

    def load(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best, self.waited, self.factor = state["best"], state["waited"], state["factor"]


class BestMembers:
    """Each member's weights of its own best epoch, and how long each has waited for a better one.

    Members on one trunk have one best epoch, and count as one here.
    """

    def __init__(self, state: dict[str, Tensor], n_members: int) -> None:
        self.weights = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
        self.losses = torch.full((n_members,), math.inf, dtype=torch.float64)
        self.waited = torch.zeros(n_members, dtype=torch.int64)

    def update(self, losses: Tensor, state: dict[str, Tensor], patient: bool = False) -> None:
        """Take in an epoch: validation losses [M], and weights with leading member dimension.

        An epoch does not count as waiting where `patient`.
        """
        better = losses.cpu() < self.losses
        self.losses = torch.where(better, losses.cpu(), self.losses)
        self.waited = torch.where(better, 0, self.waited + (not patient))
        for name, tensor in state.items():
            where = better.view(-1, *[1] * (tensor.dim() - 1))
            self.weights[name] = torch.where(where, tensor.detach().cpu(), self.weights[name])

    def state(self) -> dict[str, Any]:
        """For a checkpoint; the weights are stored apart."""
        return {"losses": self.losses, "waited": self.waited}

    def load(self, state: dict[str, Any], weights: dict[str, Tensor]) -> None:
        """From a checkpoint."""
        self.losses, self.waited, self.weights = state["losses"], state["waited"], weights
