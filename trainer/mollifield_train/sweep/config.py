"""The config of a sweep. Paths are relative to the working directory, as in a training config."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from ..clusters import Cluster, LocalConfig
from ..config import TrainConfig, validated
from ..same_run import differences
from ..section import Section
from ..yaml_values import read_yaml, set_key
from .spaces import Label, Space

FREE_ON_RESUME = ("directory", "trials", "workers", "timeout", "cluster", "training.device", "training.directory")
"""Keys that a continued sweep may change without becoming another one."""
_FIXED = ("directory", "seed", "data.valid", "data.valid_fraction")
"""Keys that no sweep goes over: each trial has a folder of its own, and all the same validation frames. Where those are
set aside from `data.train`, neither does it go over that."""


class SweepConfig(Section):
    """Many trainings, each with values of some keys that an optimiser chose."""

    directory: str = "runs/sweep"
    """Where trials, tables and the optimiser's database lie."""
    training: dict[str, Any]
    """The training that the trials vary: the path of a file of `mollifield train`, or its keys."""
    search: Annotated[dict[str, Space], Field(min_length=1)]
    """What to vary: keys of the training with their dots (`optimiser.learning_rate`), each with
    `{low: 1.0e-3, high: 2.0e-2, log: true}`, or a list of values (`mollifield_train.sweep.spaces`)."""
    trials: PositiveInt = 20
    """How many, failed ones included. May be raised later."""
    objective: Literal["error", "error_and_cost"] = "error"
    """What is to be small: the force RMSE on the validation frames; or both that and the cost of an evaluation, where
    the optimiser looks for trials that no other beats in both."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Who chooses: Optuna's tree-structured Parzen estimator (random for its first 10 trials), or chance alone."""
    seed: NonNegativeInt = 0
    """Of the sampler. With one worker the same trials come again."""
    cost_frame: str | None = None
    """File of frames whose first one the cost is measured on. Null: the largest of the validation frames."""
    workers: PositiveInt = 1
    """Trials at a time, each in a process of its own with one thread."""
    timeout: PositiveFloat | None = None
    """Seconds after which a trial is ended, and counts as failed; null for none. Of workers on this machine."""
    cluster: Cluster = Field(default_factory=LocalConfig)
    """Where the workers are: processes here (`{kind: local}`), `{kind: dask, address: tcp://head:8786}` or
    `{kind: slurm, queue: normal}` (`mollifield_train.clusters.config`, docs/cluster.md)."""


def load_sweep_config(path: str | Path) -> SweepConfig:
    """Read a YAML file, and the training's where it names one.

    Raises ValueError with one line a problem: file, full path of the key, what is allowed. Every end of a range and
    every choice is tried in the training.
    """
    values = read_yaml(path)
    source = f"{path}: training"
    if isinstance(values.get("training"), str):
        source = values["training"]
        values = values | {"training": read_yaml(source)}
    config = validated(SweepConfig, values, str(path))
    base = validated(TrainConfig, config.training, source)
    if base.data.valid is None and base.data.valid_fraction == 0.0:
        raise ValueError(f"{source}: a sweep needs validation frames: 'data.valid', or a 'data.valid_fraction' above 0")
    _check_search(config, f"{path}: search", _FIXED if base.data.valid is not None else (*_FIXED, "data.train"))
    return config


def training_values(config: SweepConfig, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a training with the `chosen` values of some, by their dotted path."""
    values = copy.deepcopy(config.training)
    for key, value in chosen.items():
        set_key(values, key, copy.deepcopy(value))
    return values


def meant(config: SweepConfig, labels: Mapping[str, Label]) -> dict[str, Any]:
    """Values of keys by what the optimiser calls them."""
    return {key: space.value(labels[key]) for key, space in config.search.items()}


def check_same_sweep(before: dict[str, Any], now: dict[str, Any], directory: Path) -> None:
    """Raise ValueError if `directory` holds a sweep with other settings; both in plain values."""
    different = differences(before, now, FREE_ON_RESUME)
    if different:
        raise ValueError(
            f"{directory}: holds a sweep with other settings: {'; '.join(different)}; choose another directory"
        )


def _check_search(config: SweepConfig, source: str, fixed: tuple[str, ...]) -> None:
    for key, space in config.search.items():
        outer = [other for other in config.search if key.startswith(f"{other}.")]
        if outer:
            raise ValueError(f"{source}: '{key}' is part of '{outer[0]}', which is varied too; give one")
        if any(key == other or other.startswith(f"{key}.") for other in fixed):
            raise ValueError(
                f"{source}: '{key}' cannot be varied: trials are compared on the same validation frames, each in a "
                f"folder of its own; the keys that stay are {', '.join(fixed)}"
            )
        for value in space.examples():
            try:
                values = training_values(config, {key: value})
            except ValueError as error:
                raise ValueError(f"{source}: '{key}': {error}") from None
            validated(TrainConfig, values, source)
