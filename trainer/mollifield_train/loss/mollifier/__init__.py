"""The mollified term of the loss: a table of forms, each a config class and a pure function.

All look at the learned surface Ê where the atoms r of a frame are displaced by s, drawn from a mollifier φ (`kernels`),
and differ in what they ask of it there. Every form gives one number R a frame and member; the loss has λ_M/B Σ R/(3N)
(`weights.mollifier_term`). They see tensors and callables only (`scene`). Another form is a file with its function, a
section with its keys, and a line in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...section import Kind, imported_late
from .sections import (
    DenoiseConfig,
    DifferenceConfig,
    FormConfig,
    GradientConfig,
    HvpConfig,
    ResidualConfig,
    TaylorConfig,
    TeacherConfig,
)

if TYPE_CHECKING:
    from torch import Tensor

    from .scene import Scene

__all__ = ["DEFAULT_FORM", "FORMS", "mollified"]


FORMS: dict[str, Kind] = {
    "gradient": Kind(GradientConfig, imported_late(f"{__name__}.gradient", "term")),
    "residual": Kind(ResidualConfig, imported_late(f"{__name__}.residual", "term")),
    "taylor": Kind(TaylorConfig, imported_late(f"{__name__}.taylor", "term")),
    "difference": Kind(DifferenceConfig, imported_late(f"{__name__}.difference", "term")),
    "hvp": Kind(HvpConfig, imported_late(f"{__name__}.hvp", "term")),
    "teacher": Kind(TeacherConfig, imported_late(f"{__name__}.teacher", "term")),
    "denoise": Kind(DenoiseConfig, imported_late(f"{__name__}.denoise", "term")),
}
"""By the `form` of the config: its class, and the function that gives R of each frame, [M, B]."""

DEFAULT_FORM = "gradient"
"""Of a config without `form`."""


def mollified(settings: FormConfig, scene: Scene) -> Tensor:
    """R of each frame of a scene, [M, B] in (eV/Å)², by the form that a config names."""
    found: Tensor = FORMS[settings.form].make(settings, scene)
    return found
