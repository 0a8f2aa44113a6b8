"""Gradients of the weights, member by member: tensors have a leading member dimension, and members do not meet."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .ranks import ALONE, Ranks

TINY = 1e-12
"""Norms are never smaller where they divide."""
DECAY = 0.9
"""Of the running average of logarithms that an adaptive weight follows: it forgets within some ten evaluations."""


def member_norms(gradients: Sequence[Tensor], n_members: int | None = None) -> Tensor:
    """Euclidean norm of each member's part of all tensors together, [M]; `n_members` is 1 where they share a trunk."""
    n_members = len(gradients[0]) if n_members is None else n_members
    squares = torch.stack([g.square().reshape(n_members, -1).sum(dim=1) for g in gradients])
    return squares.sum(dim=0).sqrt()


def times_members(gradient: Tensor, factors: Tensor) -> Tensor:
    """[M, ...] times [M]."""
    return gradient * factors.to(gradient.dtype).view(-1, *[1] * (gradient.dim() - 1))


def clip_members(parameters: Iterable[Tensor], largest: float, n_members: int | None = None) -> None:
    """Scale each member's gradient to a norm of at most `largest`; leading dimension M throughout, or one norm."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    scale = (largest / (member_norms(gradients, n_members) + TINY)).clamp(max=1.0)
    for gradient in gradients:
        gradient.copy_(times_members(gradient, scale))


class Ascent:
    """Weights moved uphill by `radius`, each member along its own gradient; `undo` puts back what they were.

    Sharpness-aware minimisation takes the step of the optimiser from the gradient up there (Foret et al., arXiv
    2010.01412; for potentials: Allegro-Legato, Ibayashi et al., arXiv 2303.08169).
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        loss: Tensor,
        radius: float,
        ranks: Ranks = ALONE,
        n_members: int | None = None,
    ) -> None:
        """`loss`: this rank's part of it, of those of several `ranks`. `n_members` as in `member_norms`."""
        gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True, materialize_grads=True)
        ranks.add_up(gradients)
        moved = list(zip(parameters, gradients, strict=True))
        scale = radius / (member_norms([g for _, g in moved], n_members) + TINY)
        self._before = [(p, p.data.clone()) for p, _ in moved]
        for parameter, gradient in moved:
            parameter.data.add_(times_members(gradient, scale))

    def undo(self) -> None:
        """To the last digit."""
        for parameter, before in self._before:
            parameter.data.copy_(before)


class Balance:
    """For each member, how much longer the gradient of one loss is than that of another, averaged over evaluations.

    The average is that of logarithms, with a decay that starts small: min(DECAY, n/(n + 1)) after n evaluations.
    """

    def __init__(self, n_members: int) -> None:
        self._log_ratio = torch.zeros(n_members, dtype=torch.float64)
        self._n = 0

    def ratio(self) -> Tensor:
        """By now, [M]; 0 before any evaluation."""
        return self._log_ratio.exp() if self._n else torch.zeros_like(self._log_ratio)

    def update(self, one: Tensor, other: Tensor) -> Tensor:
        """Take in the norms [M] of both gradients; the ratio now, [M]. A norm of zero tells nothing of it."""
        one, other = one.detach().double().cpu(), other.detach().double().cpu()
        found = torch.log(one.clamp(min=TINY)) - torch.log(other.clamp(min=TINY))
        decay = min(DECAY, self._n / (self._n + 1.0))
        telling = (one > TINY) & (other > TINY)
        self._log_ratio = torch.where(telling, torch.lerp(found, self._log_ratio, decay), self._log_ratio)
        self._n += 1
        return self.ratio()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"log_ratio": self._log_ratio, "n": self._n}

    def load(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._log_ratio, self._n = state["log_ratio"], state["n"]


def balanced_gradients(
    parameters: Sequence[Tensor], loss: Tensor, term: Tensor, share: float, balance: Balance
) -> list[Tensor | None]:
    """Of loss + λ term, with each member's λ so that the term's part is `share` times as long as the rest.

    Costs no more than one backward pass through both where they have little of their graphs in common.
    """
    parameters = list(parameters)
    of_loss = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    of_term = torch.autograd.grad(term, parameters, allow_unused=True)
    norms = [member_norms([g for g in found if g is not None]) for found in (of_loss, of_term)]
    weight = share * balance.update(*norms).to(norms[0].device)
    pairs = zip(of_loss, of_term, strict=True)
    return [a if b is None else times_members(b, weight) + (0.0 if a is None else a) for a, b in pairs]
