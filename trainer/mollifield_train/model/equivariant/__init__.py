"""The equivariant architecture: its config class here, its network where one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import EquivariantConfig

if TYPE_CHECKING:
    from ..architecture import Architecture
    from .network import EquivariantPotential

__all__ = ["EquivariantConfig", "build_equivariant"]


def build_equivariant(architecture: Architecture[EquivariantConfig]) -> EquivariantPotential:
    """An untrained network."""
    from .network import EquivariantPotential  # e3nn and torch take seconds, which reading a config has no use for

    return EquivariantPotential(architecture)
