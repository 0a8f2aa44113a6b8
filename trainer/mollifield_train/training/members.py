"""Members of a committee as plain tensors: build, pack, unpack, and check for a warm start."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..config import TrainConfig
from ..data.statistics import Statistics
from ..model import ARCHITECTURES, as_meant_today, build
from ..model.architecture import Architecture
from ..model.protocol import Potential
from ..model.samples import initialise, load_member_state, member_state, rebuilt
from ..tensor_file import read_tensors
from .run_directory import LAST_CHECKPOINT, MEMBERS_FILE


class TrainedMembers(NamedTuple):
    """What a file of trained members says."""

    path: Path
    model: Potential
    """With each member's best weights."""
    trained_before: list[str]
    """Keys of the frames that the initial model of their run was trained on."""
    trained_on: list[str]
    """Keys of all frames that they have seen at its end."""


def build_potential(config: TrainConfig, statistics: Statistics, seed: int, n_members: int) -> Potential:
    """A fresh model; member m's weights depend on seed + m alone."""
    model = build(
        Architecture(
            settings=config.model,
            species=tuple(statistics.species),
            average_neighbours=statistics.average_neighbours,
            atomic_shifts=tuple(statistics.shifts.energies),
            energy_scale=statistics.force_scale,
            n_members=n_members,
            dtype=getattr(torch, config.dtype),
            shortest_distances=statistics.shortest_distances,
        )
    )
    initialise(model, seed)
    return model


def pack(model: Potential, state: dict[str, torch.Tensor] | None = None) -> dict[str, Any]:
    """Everything `unpack` needs, in tensors and plain values; `state` replaces the model's own."""
    state = member_state(model) if state is None else state
    return {
        "settings": model.architecture.of_the_network(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "n_members": model.n_members,
        "state": {name: tensor.detach().cpu().clone() for name, tensor in state.items()},
    }


def unpack(packed: dict[str, Any]) -> Potential:
    """The model that `pack` packed, on the CPU."""
    settings = dict(packed["settings"])
    species, average_neighbours = settings.pop("species"), settings.pop("average_neighbours")
    shortest = settings.pop("shortest_distances", None)  # older weights know none
    settings = as_meant_today(settings)
    kind = settings["kind"]
    if kind not in ARCHITECTURES:
        raise ValueError(
            f"weights of architecture '{kind}', which isn't known here; known are {', '.join(ARCHITECTURES)}"
        )
    model = build(
        Architecture(
            settings=ARCHITECTURES[kind].section.model_validate(settings),
            species=tuple(species),
            average_neighbours=average_neighbours,
            atomic_shifts=(0.0,) * len(species),  # shifts and scale are buffers of the state
            energy_scale=1.0,
            n_members=packed["n_members"],
            dtype=getattr(torch, packed["dtype"]),
            shortest_distances=None if shortest is None else tuple(map(tuple, shortest)),
        )
    )
    load_member_state(model, packed["state"])
    return model


def read_members(path: str | Path) -> TrainedMembers:
    """Best weights from a run's directory, its members.pt, or a checkpoint of a committee.

    Raises ValueError where there is none, or the file is not one of these.
    """
    path = Path(path)
    if path.is_dir():
        candidates = [path / MEMBERS_FILE, path / LAST_CHECKPOINT]
        found = [candidate for candidate in candidates if candidate.is_file()]
        if not found:
            raise ValueError(f"{path}: holds no trained members; looked for {MEMBERS_FILE} and {LAST_CHECKPOINT}")
        path = found[0]
    content = read_tensors(path)
    packed = content.get("best", content.get("potential"))
    if packed is None:
        raise ValueError(f"{path}: not a file of trained members; keys: {', '.join(content)}")
    return TrainedMembers(path, unpack(packed), content.get("trained_before", []), content.get("trained_on", []))


def load_members(path: str | Path) -> Potential:
    """The model of `read_members` alone."""
    return read_members(path).model


def warm_start(config: TrainConfig, path: str | Path) -> tuple[Potential, list[str]]:
    """The model of an earlier run as the start of this one, and the keys of the frames that it was trained on.

    Raises ValueError if its architecture or number of members differs from the config.
    """
    path, model, _, trained_on = read_members(path)
    network = config.model.of_the_network()
    wanted = {f"model.{key}": value for key, value in network.items()}
    wanted |= {"committee.n_members": config.committee.n_members, "dtype": config.dtype}
    found = {f"model.{key}": value for key, value in model.architecture.of_the_network().items()}
    found |= {"committee.n_members": model.n_members, "dtype": str(model.dtype).removeprefix("torch.")}
    different = [
        f"{key} is {value} here, {found.get(key)} there" for key, value in wanted.items() if found.get(key) != value
    ]
    if different:
        raise ValueError(f"{path}: not the architecture of this config: {'; '.join(different)}")
    # With this config's word on what weights do not depend on, such as who computes.
    model = rebuilt(model, member_state(model), settings=config.model)
    return model, trained_on
