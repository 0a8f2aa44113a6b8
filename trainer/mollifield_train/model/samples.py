"""Members of a committee of any architecture (`protocol.Potential`): their tensors, and models made of some."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from .protocol import Potential, ScalesWeights

AnyPotential = TypeVar("AnyPotential", bound=Potential)


def member_state(model: Potential) -> dict[str, Tensor]:
    """Every tensor in which members differ, each with a leading member dimension.

    Backends and constants don't enter, so that weights trained with one backend load into another.
    """
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for name, module in model.named_modules():
        for buffer in getattr(module, "MEMBER_BUFFERS", ()):
            state[f"{name}.{buffer}" if name else buffer] = getattr(module, buffer)
    return state


def load_member_state(model: Potential, state: dict[str, Tensor]) -> None:
    """The inverse of `member_state`; `ValueError` names the first tensor that doesn't fit."""
    own = member_state(model)
    if own.keys() != state.keys():
        odd = sorted(own.keys() ^ state.keys())[0]
        raise ValueError(f"weights of another architecture: {odd} is in one of the two only")
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise ValueError(
                f"weights of another architecture: {name} is {list(state[name].shape)}, "
                f"this model has {list(tensor.shape)}"
            )
        tensor.copy_(state[name])


def initialise(model: Potential, seed: int) -> None:
    """Draw all weights anew; member m uses `seed + m` alone, whatever the number of members.

    Drawn in float64 on the CPU, so that they don't depend on the dtype or the device either. What members share is
    member 0's.
    """
    generators = [torch.Generator().manual_seed(seed + m) for m in range(model.n_members)]
    with torch.no_grad():
        for parameter in model.parameters():
            for member, generator in zip(parameter, generators[: len(parameter)], strict=True):
                member.copy_(torch.randn(member.shape, generator=generator, dtype=torch.float64))
        if isinstance(model, ScalesWeights):
            model.scale_initial_weights()


def rebuilt(model: AnyPotential, state: dict[str, Tensor], **changes: Any) -> AnyPotential:
    """A model of the same `Architecture` but for `changes` in its fields, with the members of `state`."""
    other = type(model)(replace(model.architecture, **changes))
    load_member_state(other, state)
    return other


def one_member(model: Potential, m: int) -> Potential:
    """Member m of a committee as a model of its own."""
    state = {
        name: tensor[m : m + 1] if len(tensor) == model.n_members else tensor
        for name, tensor in member_state(model).items()
    }
    return rebuilt(model, state, n_members=1)


def tensors_of_members(model: Potential) -> list[str]:
    """Names of `member_state` without what members share."""
    return [name for name, tensor in member_state(model).items() if len(tensor) == model.n_members]


def stack_members(models: Sequence[Potential]) -> Potential:
    """One model out of several of the same architecture, their members in order; ValueError where it cannot be."""
    if any(model.shared_trunk for model in models) and len(models) > 1:
        raise ValueError("samples on one trunk cannot be stacked with other models")
    first = models[0].architecture.of_the_network()
    for k, model in enumerate(models[1:], start=1):
        other = model.architecture.of_the_network()
        for key, value in first.items():
            if other.get(key) != value:
                raise ValueError(
                    f"member {k} has {key} = {other.get(key)}, member 0 has {value}: "
                    "members of a committee share one architecture"
                )
    states = [member_state(model) for model in models]
    stacked = {key: torch.cat([state[key] for state in states]) for key in states[0]}
    return rebuilt(models[0], stacked, n_members=sum(model.n_members for model in models))
