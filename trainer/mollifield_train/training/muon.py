"""Muon: steps of matrices whose singular values are all alike, each member's matrices by themselves.

After Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the scale of Liu et al.
(arXiv 2502.16982). Packages have it for parameters that are one matrix; ours hold those of all members, and of all
degrees of an equivariant map.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .member_gradients import TINY

NESTEROV = 0.95
"""Decay of the average of gradients, which the step looks ahead of once more."""
ADAM_SIZE = 0.2
"""Root mean square of a step's numbers over the learning rate: about that of Adam's (arXiv 2502.16982, sec. 2.2)."""
ITERATIONS = 5
"""Of Newton and Schulz, each an odd polynomial of degree 5 in the singular values..."""
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""...whose coefficients take them to between 0.7 and 1.2 within these iterations."""


class Block(NamedTuple):
    """A matrix of each member within a parameter."""

    parameter: int
    """Its place among the parameters that hold matrices."""
    start: int
    rows: int
    columns: int

    def of(self, members: Tensor) -> Tensor:
        """`[M, numbers]` -> `[M, rows, columns]`, or columns by rows where there are fewer columns."""
        matrix = members[:, self.start : self.start + self.rows * self.columns].unflatten(1, (self.rows, self.columns))
        return matrix if self.rows <= self.columns else matrix.mT


def orthogonalised(matrices: Tensor) -> Tensor:
    """`[B, rows, columns]`, no more rows than columns: U Vᵀ of each U Σ Vᵀ, to within a third."""
    a, b, c = POLYNOMIAL
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + TINY)
    for _ in range(ITERATIONS):
        square = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


def adam(parameters: Sequence[Tensor], lr: float, weight_decay: float) -> torch.optim.Adam:
    """Adam with decay apart from the gradient."""
    return torch.optim.Adam(
        parameters, lr=lr, weight_decay=weight_decay, decoupled_weight_decay=weight_decay > 0.0, fused=True
    )


class Muon(torch.optim.Optimizer):
    """Muon for matrices, Adam for all other parameters, at one learning rate; decoupled weight decay of both."""

    def __init__(
        self, parameters: Sequence[Tensor], matrices: dict[int, list[tuple[int, int]]], lr: float, weight_decay: float
    ) -> None:
        """`matrices`: of those of the `parameters` `[M, ...]`, by their place, that hold a member's matrices, rows and
        columns of each, in order."""
        super().__init__([{"params": list(parameters)}], {"lr": lr})
        self._decay = weight_decay
        self._held = [parameters[k] for k in matrices]
        self._momenta = [torch.zeros_like(parameter) for parameter in self._held]
        others = [parameter for k, parameter in enumerate(parameters) if k not in matrices]
        self._adam = adam(others, lr, weight_decay)
        self._alike: dict[tuple[int, ...], list[Block]] = {}
        for k, (parameter, shapes) in enumerate(zip(self._held, matrices.values(), strict=True)):
            starts = accumulate((rows * columns for rows, columns in shapes), initial=0)
            for start, (rows, columns) in zip(starts, shapes, strict=False):
                key = (len(parameter), *sorted((rows, columns)))
                self._alike.setdefault(key, []).append(Block(k, start, rows, columns))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters; what `closure` returns."""
        found = None
        if closure is not None:
            with torch.enable_grad():
                found = closure()
        rate = self.param_groups[0]["lr"]
        self._adam.param_groups[0]["lr"] = rate
        self._adam.step()
        ahead: list[Tensor] = []
        for parameter, momentum in zip(self._held, self._momenta, strict=True):
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            momentum.lerp_(gradient, 1.0 - NESTEROV)
            ahead.append(gradient.lerp(momentum, NESTEROV).flatten(1))
            parameter.mul_(1.0 - rate * self._decay)
        for (n_members, _, longer), blocks in self._alike.items():
            steps = orthogonalised(torch.cat([block.of(ahead[block.parameter]) for block in blocks]))
            steps.mul_(rate * ADAM_SIZE * longer**0.5)
            for block, step in zip(blocks, steps.split(n_members), strict=True):
                block.of(self._held[block.parameter].view(n_members, -1)).sub_(step)
        return found

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"adam": self._adam.state_dict(), "momenta": self._momenta}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._adam.load_state_dict(state_dict["adam"])
        for momentum, before in zip(self._momenta, state_dict["momenta"], strict=True):
            momentum.copy_(before)
