"""The mollified term of the loss: a table of forms, each a config class and a pure function.

All look at the learned surface Ê where the atoms r of a frame are displaced by s, drawn from a mollifier φ (`kernels`),
and differ in what they ask of it there. Every form gives one number R a frame and member; the loss has λ_M/B Σ R/(3N)
(`weights.mollifier_term`). They see tensors and callables only (`scene`). Another form is a file with its function, a
section with its keys, and a line in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...section import Kind
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


def _term(module: str) -> Callable[[Any, Scene], Tensor]:
    """`term(settings, scene)` of a module that is imported when it is needed: reading a config has no use for torch."""

    def term(settings: Any, scene: Scene) -> Tensor:
        found: Tensor = import_module(f".{module}", __name__).term(settings, scene)
        return found

    return term


FORMS: dict[str, Kind] = {
    "gradient": Kind(GradientConfig, _term("gradient")),
    "residual": Kind(ResidualConfig, _term("residual")),
    "taylor": Kind(TaylorConfig, _term("taylor")),
    "difference": Kind(DifferenceConfig, _term("difference")),
    "hvp": Kind(HvpConfig, _term("hvp")),
    "teacher": Kind(TeacherConfig, _term("teacher")),
    "denoise": Kind(DenoiseConfig, _term("denoise")),
}
"""By the `form` of the config: its class, and the function that gives R of each frame, [M, B]."""

DEFAULT_FORM = "gradient"
"""Of a config without `form`."""


def mollified(settings: FormConfig, scene: Scene) -> Tensor:
    """R of each frame of a scene, [M, B] in (eV/Å)², by the form that a config names."""
    found: Tensor = FORMS[settings.form].make(settings, scene)
    return found
