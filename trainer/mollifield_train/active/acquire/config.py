"""What acquisitions may be told; each kind adds its own keys."""

from __future__ import annotations

from typing import ClassVar

from ...section import Section
from ..store import REGULAR, THRESHOLD


class AcquisitionConfig(Section):
    """Every acquisition. Subclasses in the table make `kind` a `Literal` with the name of their line;
    those that are named by an import path leave it as it is."""

    kind: str
    """Which acquisition."""

    DRAWS_FROM: ClassVar[frozenset[str]] = frozenset({THRESHOLD, REGULAR})
    """Which frames of its arm's trajectories are candidates: those above the threshold, those at regular intervals."""
    IN_WORDS: ClassVar[str] = "chosen by uncertainty"
    """How its frames were found, in the report."""
