"""Members of a committee as plain tensors: build, pack, unpack, and make ready for a warm start."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mollifield.artefact import is_exported, read_artefact, read_trained

from ..config import TrainConfig
from ..data.statistics import Statistics
from ..model import ARCHITECTURES, as_meant_today, build
from ..model.architecture import Architecture
from ..model.protocol import LastLayered, Potential
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
            shared_trunk=config.heads is not None,
        )
    )
    if model.shared_trunk and not isinstance(model, LastLayered):
        raise ValueError(f"'uncertainty.kinds': architecture '{config.model.kind}' has no heads on one trunk")
    initialise(model, seed)
    return model


def pack(model: Potential, state: dict[str, torch.Tensor] | None = None) -> dict[str, Any]:
    """Everything `unpack` needs, in tensors and plain values; `state` replaces the model's own."""
    state = member_state(model) if state is None else state
    return {
        "settings": model.architecture.of_the_network(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "n_members": model.n_members,
        "shared_trunk": model.shared_trunk,
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
            shared_trunk=packed.get("shared_trunk", False),  # older weights have none
        )
    )
    load_member_state(model, packed["state"])
    return model


def read_members(path: str | Path) -> TrainedMembers:
    """Best weights from a run's directory, its members.pt, a checkpoint of a committee, or an exported file.

    Raises ValueError where there is none, or the file is not one of these.
    """
    path = Path(path)
    if path.is_dir():
        candidates = [path / MEMBERS_FILE, path / LAST_CHECKPOINT]
        found = [candidate for candidate in candidates if candidate.is_file()]
        if not found:
            raise ValueError(f"{path}: holds no trained members; looked for {MEMBERS_FILE} and {LAST_CHECKPOINT}")
        path = found[0]
    content = _read_exported(path) if is_exported(path) else read_tensors(path)
    packed = content.get("best", content.get("potential"))
    if packed is None:
        raise ValueError(f"{path}: not a file of trained members; keys: {', '.join(content)}")
    return TrainedMembers(path, unpack(packed), content.get("trained_before", []), content.get("trained_on", []))


def _read_exported(path: Path) -> dict[str, Any]:
    found = read_trained(read_artefact(path))
    if found is None:
        raise ValueError(
            f"{path}: a model file without the weights as they were trained (exported by an earlier release, or from "
            "no run): no training can begin from it; take the directory of its run"
        )
    facts, state = found
    facts["potential"]["state"] = state
    return facts


def load_members(path: str | Path) -> Potential:
    """The model of `read_members` alone."""
    return read_members(path).model


def warm_start(config: TrainConfig, path: str | Path) -> tuple[Potential, list[str]]:
    """The model of an earlier run as the start of this one, and the keys of the frames that it was trained on.

    Of a larger committee the first members are taken. Raises ValueError if its architecture differs from the config, or
    it has fewer members.
    """
    path, model, _, trained_on = read_members(path)
    network = config.model.of_the_network()
    wanted = {f"model.{key}": value for key, value in network.items()} | {"dtype": config.dtype}
    wanted["shared_trunk"] = config.heads is not None
    found = {f"model.{key}": value for key, value in model.architecture.of_the_network().items()}
    found |= {"dtype": str(model.dtype).removeprefix("torch."), "shared_trunk": model.shared_trunk}
    n_members = config.committee.n_members
    if n_members > model.n_members:
        wanted["committee.n_members"], found["committee.n_members"] = n_members, model.n_members
    different = [
        f"{key} is {value} here, {found.get(key)} there" for key, value in wanted.items() if found.get(key) != value
    ]
    if different:
        raise ValueError(f"{path}: not the architecture of this config: {'; '.join(different)}")
    state = {name: tensor[:n_members] for name, tensor in member_state(model).items()}
    # With this config's word on what weights do not depend on, such as who computes.
    return rebuilt(model, state, settings=config.model, n_members=n_members), trained_on


def with_species(model: Potential, species: Sequence[str], seed: int) -> Potential:
    """The same model for further species, which follow its own in `species`.

    What is theirs is drawn as initial weights are (member m by seed + m), with shifts of 0; energies of frames without
    them stay the same. Raises ValueError for an architecture whose tensors cannot grow so.
    """
    n_before, n_now = len(model.species), len(species)
    if n_before == n_now:
        return model
    shifts = (*model.architecture.atomic_shifts, *[0.0] * (n_now - n_before))
    architecture = replace(model.architecture, species=tuple(species), atomic_shifts=shifts, shortest_distances=None)
    larger = type(model)(architecture)
    initialise(larger, seed)
    state = member_state(larger)
    for name, before in member_state(model).items():
        grown = [sizes for sizes in zip(before.shape, state[name].shape, strict=True) if sizes[0] != sizes[1]]
        if any(sizes != (n_before, n_now) for sizes in grown):
            raise ValueError(
                f"{name} of the initial model is {list(before.shape)}, with {', '.join(species[n_before:])} "
                f"{list(state[name].shape)}: this architecture cannot take further species"
            )
        state[name][tuple(slice(size) for size in before.shape)] = before
    larger.atomic_shifts[:, n_before:] = 0.0
    return larger
