"""Cheap surfaces that a loss may compare with: fitted springs, or any ASE calculator.

Another prior is a config class with a function that makes an `Evaluate` of it and the training frames, and a line in
the table; another calculator is a line in that of `oracle`, whose kinds are kinds of priors too.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..oracle import CALCULATORS, make_calculator
from ..section import Kind
from .springs_config import SpringsConfig

if TYPE_CHECKING:
    from ..data.batches import Graph
    from .surface import PriorSurface

__all__ = ["DEFAULT_PRIOR", "PRIORS", "make_prior"]


def _fit_springs(config: SpringsConfig, graphs: Sequence[Graph]) -> Any:
    from .springs import fit_springs  # reading a config has no use for torch

    return fit_springs(config, graphs)


OWN: dict[str, Kind] = {"springs": Kind(SpringsConfig, _fit_springs)}
PRIORS: ChainMap[str, Kind] = ChainMap(OWN, CALCULATORS)
"""By the `kind` of the config: its class, and what makes it."""

DEFAULT_PRIOR = "springs"
"""Of a config without `kind`."""


def make_prior(config: Any, graphs: Sequence[Graph]) -> PriorSurface:
    """The prior that a config names; what is fitted is fitted to these frames.

    Raises ValueError: no such module or class, or nothing to fit to.
    """
    from .calculator import by_calculator
    from .surface import PriorSurface

    if config.kind in OWN:
        return PriorSurface(OWN[config.kind].make(config, graphs))
    return PriorSurface(by_calculator(make_calculator(config)))
