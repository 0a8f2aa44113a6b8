"""The architectures: edges in, atomic energies out; they know no training config, loss or file.

Another one is a folder with a config class and a class that follows `protocol.Potential`, and a line in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..section import TAG, Kind
from .equivariant import EquivariantConfig, build_equivariant

if TYPE_CHECKING:
    from .architecture import Architecture
    from .protocol import Potential

__all__ = ["ARCHITECTURES", "DEFAULT_KIND", "as_meant_today", "build"]

ARCHITECTURES: dict[str, Kind] = {"equivariant": Kind(EquivariantConfig, build_equivariant)}
"""By the `kind` of the config: its class, and what makes an untrained model of an `Architecture`."""

DEFAULT_KIND = "equivariant"
"""Of a config without `kind`, and of weights that were written before there was a choice."""


def as_meant_today(written: dict[str, Any]) -> dict[str, Any]:
    """A model's block of a config, or the settings of stored weights, with the keys that came later."""
    kind = ARCHITECTURES.get(written.get(TAG, DEFAULT_KIND))
    return {TAG: DEFAULT_KIND} | (kind.section.EARLIER if kind else {}) | written


def build(architecture: Architecture[Any]) -> Potential:
    """An untrained model; its weights are drawn from seed 0."""
    return ARCHITECTURES[architecture.settings.kind].make(architecture)
