"""Members of a committee as plain tensors: build, pack, unpack, and check for a warm start."""

from pathlib import Path
from typing import Any

import torch

from .config import ModelConfig, TrainConfig
from .data.statistics import Statistics
from .tensor_file import read_tensors
from .model import Potential

MEMBERS_FILE = "members.pt"
LAST_CHECKPOINT = Path("checkpoints") / "last.ckpt"


def build_potential(config: TrainConfig, statistics: Statistics, seed: int, n_members: int) -> Potential:
    """A fresh model; member m's weights depend on seed + m alone."""
    architecture = config.model.model_dump(exclude={"shifts"})
    model = Potential(
        species=statistics.species,
        atomic_shifts=statistics.shifts.energies,
        energy_scale=statistics.force_scale,
        average_neighbours=statistics.average_neighbours,
        n_members=n_members,
        dtype=getattr(torch, config.dtype),
        **architecture,
    )
    model.initialise(seed)
    return model


def pack(model: Potential, state: dict[str, torch.Tensor] | None = None) -> dict[str, Any]:
    """Everything `unpack` needs, in tensors and plain values; `state` replaces the model's own."""
    state = model.member_state() if state is None else state
    return {
        "settings": model.settings,
        "dtype": str(model.dtype).removeprefix("torch."),
        "n_members": model.n_members,
        "state": {name: tensor.detach().cpu().clone() for name, tensor in state.items()},
    }


def unpack(packed: dict[str, Any], backend: str = "auto") -> Potential:
    """The model that `pack` packed, on the CPU."""
    n_species = len(packed["settings"]["species"])
    model = Potential(
        **packed["settings"],
        atomic_shifts=[0.0] * n_species,  # shifts and scale are buffers of the state
        energy_scale=1.0,
        n_members=packed["n_members"],
        dtype=getattr(torch, packed["dtype"]),
        backend=backend,
    )
    model.load_member_state(packed["state"])
    return model


def one_member(model: Potential, m: int) -> Potential:
    """Member m of a committee as a model of its own."""
    packed = pack(model)
    packed["n_members"] = 1
    packed["state"] = {name: tensor[m : m + 1] for name, tensor in packed["state"].items()}
    return unpack(packed)


def load_members(path: str | Path, backend: str = "auto") -> Potential:
    """Best weights from a run's directory, its members.pt, or a checkpoint of a committee.

    Raises ValueError where there is none, or the file is not one of these.
    """
    return _unpack_best(*_read_members(path), backend)


def trained_before(path: str | Path) -> list[str]:
    """Keys of the frames that the initial model of the run in `path` (as for `load_members`) was trained on."""
    return _read_members(path)[1].get("trained_before", [])


def warm_start(config: TrainConfig, path: str | Path) -> tuple[Potential, list[str]]:
    """The model of an earlier run as the start of this one, and the keys of the frames that it was trained on.

    Raises ValueError if its architecture or number of members differs from the config.
    """
    path, content = _read_members(path)
    model = _unpack_best(path, content, config.model.backend)
    wanted = config.model.model_dump(exclude={"shifts", "backend"})
    wanted |= {"n_members": config.committee.n_members, "dtype": config.dtype}
    found = model.settings | {
        "n_members": model.n_members, "dtype": str(model.dtype).removeprefix("torch.")
    }
    different = [
        f"{_path_of(key)} is {value} here, {found[key]} there"
        for key, value in wanted.items()
        if found[key] != value
    ]
    if different:
        raise ValueError(f"{path}: not the architecture of this config: {'; '.join(different)}")
    return model, content.get("trained_on", [])


def _read_members(path: str | Path) -> tuple[Path, dict[str, Any]]:
    path = Path(path)
    if path.is_dir():
        candidates = [path / MEMBERS_FILE, path / LAST_CHECKPOINT]
        found = [candidate for candidate in candidates if candidate.is_file()]
        if not found:
            raise ValueError(
                f"{path}: holds no trained members; looked for {MEMBERS_FILE} and {LAST_CHECKPOINT}"
            )
        path = found[0]
    return path, read_tensors(path)


def _unpack_best(path: Path, content: dict[str, Any], backend: str) -> Potential:
    packed = content.get("best", content.get("potential"))
    if packed is None:
        raise ValueError(f"{path}: not a file of trained members; keys: {', '.join(content)}")
    return unpack(packed, backend)


def _path_of(key: str) -> str:
    if key in ModelConfig.model_fields:
        return f"model.{key}"
    return "committee.n_members" if key == "n_members" else key
