"""The values that a key of a training may have in a sweep. Another kind is a class here and a line in the table."""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from ..section import Kind, Section, Tagged

if TYPE_CHECKING:  # whoever reads a config need not have the optimiser
    from optuna.distributions import BaseDistribution

Label = str | int | float | bool | None
"""What the optimiser knows of a value."""


class SpaceConfig(Section):
    """What all kinds can be asked."""

    kind: str
    """Which one."""

    def examples(self) -> list[Any]:
        """Values that must be allowed for the rest to be."""
        raise NotImplementedError

    def value(self, label: Label) -> Any:
        """What the optimiser's `label` stands for."""
        return label


class RangeConfig(SpaceConfig):
    """Numbers between two; whole ones where `low` and `high` are both written as whole ones (1, not 1.0)."""

    kind: Literal["range"] = "range"
    """Its name in a file."""
    low: int | float
    """The smallest."""
    high: int | float
    """The largest."""
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Distance of the values from each other, counted from `low`; null: any in between."""
    log: bool = False
    """Even in the logarithm: for learning rates and weights."""

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    def examples(self) -> list[Any]:
        """The ends, and a value between them that is whole only where all are."""
        between = (self.low + self.step) if self.step else self.low + (self.high - self.low) / math.pi
        return [self.low, self.high, *([] if self.whole else [between])]

    @model_validator(mode="after")
    def _spans(self) -> "RangeConfig":
        if self.low >= self.high:
            raise ValueError(f"'low' ({self.low:g}) must be below 'high' ({self.high:g})")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError(f"'log' needs a 'low' above 0, found {self.low:g}, and no 'step'")
        return self


class ChoicesConfig(SpaceConfig):
    """One of some values, in a file a list alone: `[16, 32, 64]`."""

    kind: Literal["choices"] = "choices"
    """Its name in a file."""
    values: Annotated[list[Any], Field(min_length=2)]
    """Of any sort: numbers, names, lists, whole blocks."""

    def examples(self) -> list[Any]:
        """All of them."""
        return self.values

    def labels(self) -> list[Label]:
        """What the optimiser is told: plain values as they are, others as JSON."""
        return [v if v is None or isinstance(v, str | int | float) else json.dumps(v) for v in self.values]

    def value(self, label: Label) -> Any:
        """The one with that label."""
        return self.values[self.labels().index(label)]

    @model_validator(mode="after")
    def _differ(self) -> "ChoicesConfig":
        twice = [value for k, value in enumerate(self.values) if value in self.values[:k]]
        if twice:
            raise ValueError(f"value {twice[0]!r} stands in the list twice")
        return self


def make_range(config: RangeConfig) -> "BaseDistribution":
    """Optuna's word for it."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if config.whole:
        return IntDistribution(int(config.low), int(config.high), log=config.log, step=int(config.step or 1))
    return FloatDistribution(float(config.low), float(config.high), log=config.log, step=config.step)


def make_choices(config: ChoicesConfig) -> "BaseDistribution":
    """Optuna's word for it."""
    from optuna.distributions import CategoricalDistribution

    return CategoricalDistribution(config.labels())


SPACES: dict[str, Kind] = {"range": Kind(RangeConfig, make_range), "choices": Kind(ChoicesConfig, make_choices)}
"""By the `kind` of a block: its class, and what makes a distribution of Optuna's of it."""

Space = Annotated[
    SerializeAsAny[SpaceConfig],
    Tagged(SPACES, "range"),
    BeforeValidator(lambda values: {"kind": "choices", "values": values} if isinstance(values, list) else values),
]
"""In a config: `{low: 1.0e-3, high: 2.0e-2, log: true}`, or a list of choices."""


def distribution(space: SpaceConfig) -> "BaseDistribution":
    """What the optimiser draws from."""
    made: BaseDistribution = SPACES[space.kind].make(space)
    return made
