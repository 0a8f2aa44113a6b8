"""What a config may say of each form of the mollified term; equations are in the files of the same names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from ...oracle.calculators import HOW_IT_IS_RUN
from ...prior import DEFAULT_PRIOR, PRIORS
from ...section import Section, Tagged


class FormConfig(Section):
    """Every form. Subclasses make `form` a `Literal` with the name of their line in the table."""

    form: str
    """`gradient`, `residual`, `taylor`, `difference`, `hvp`, `teacher` or `denoise`: what is asked of the learned
    surface where atoms are displaced."""
    weight: NonNegativeFloat
    """λ_M; 0 switches the term off."""
    share: PositiveFloat | None = None
    """In place of `weight`: an adaptive λ_M, for each member the one with which the gradient of the term by the
    weights has this share of the norm that the gradient of the other terms has. 0.1 is a small one."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Weight (or share) over the run: constant, or falling to zero."""
    until: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Part of the run in which there is a term: `schedule` goes over this part, and the rest is trained without. 0.7:
    none where `final_energy` counts."""
    kernel: Literal["gaussian", "compact"] = "gaussian"
    """`gaussian`: width is the standard deviation σ. `compact`: C exp(-1/(1 - x²/ε²)) on |x| < ε,
    width is ε."""
    width: PositiveFloat = 0.05
    """σ or ε, in Å; with `units: scaled` in units of `length_scale`."""
    samples: PositiveInt = 1
    """Random displacements of a frame and step; of `gradient`, `residual` and `hvp` pairs of them, s and -s."""
    sums: Literal["per_atom", "per_structure"] = "per_atom"
    """`per_structure`: the sum over all 3N coordinates as written. `per_atom`: that divided by 3N,
    the normalisation of the force term."""
    every: PositiveInt = 4
    """Evaluate on every k-th step only, times k: unbiased. A displaced copy of a batch costs about as much as a step
    without it."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Evaluate on this part of a batch only (at least one frame), drawn at random and scaled up."""

    @property
    def moves_all(self) -> bool:
        """Whether more than one atom of a frame is displaced at a time."""
        return True

    @property
    def learns_labels(self) -> bool:
        """Whether labels of the frame enter, so that its weight in the data terms must count here too."""
        return False


class GradientConfig(FormConfig):
    """Reg-M: the mollified squared gradient itself."""

    form: Literal["gradient"] = "gradient"
    """The mollified squared gradient, as written."""
    weight: NonNegativeFloat = 0.001
    """λ_M; 0 switches the term off. What counts is λ_M / λ_F, 1e-6 by default, and harmless below 1e-5 by an estimate:
    at convergence the force term is tiny while |dE/dr|^2 is not, and a weight near λ_F shrinks the forces
    (docs/mollifier.md)."""
    samples: PositiveInt = 2
    """Antithetic pairs of a frame and step (`monte_carlo`)."""
    integral: Literal["monte_carlo", "quadrature"] = "monte_carlo"
    """`monte_carlo`: seeded, antithetic pairs. `quadrature`: 3N * nodes gradients a frame, for
    small systems."""
    nodes: PositiveInt = 5
    """Nodes of a coordinate (`quadrature`)."""
    displacement: Literal["coordinate", "joint"] = "coordinate"
    """`coordinate`: one random coordinate of a frame moves, as the formula is written. `joint`: all
    coordinates move together (the 3N-dimensional product kernel): a different, stronger term with
    less noise for a sample. Monte Carlo only."""

    @property
    def moves_all(self) -> bool:
        return self.displacement == "joint"


class ResidualConfig(FormConfig):
    """What mollification takes away from the gradient: wiggles, not slope."""

    form: Literal["residual"] = "residual"
    """Gradient minus mollified gradient."""
    weight: NonNegativeFloat = 100.0
    """λ_M, in the units of λ_F; 0 switches the term off."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Part of a batch (at least one frame) that it is evaluated on, drawn at random and scaled up."""


class PriorFormConfig(FormConfig):
    """Forms that compare with a cheap method, whose forces are computed at displaced positions."""

    prior: Annotated[SerializeAsAny[Section], Tagged(PRIORS, DEFAULT_PRIOR)] | None
    """The cheap method: `{kind: springs}`, pair springs fitted once to the training forces, or a calculator of
    `mollifield_train.oracle` such as `{kind: tblite, method: GFN1-xTB}`. Its calculations are not repeated for
    a frame at rest, and cost one each for a displaced one."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Part of a batch (at least one frame) that it is evaluated on, drawn at random and scaled up."""
    every: PositiveInt = 5
    """Evaluate on every k-th step only, times k: unbiased."""

    @field_validator("prior")
    @classmethod
    def _no_loop(cls, prior: Any) -> Any:
        # A run's own config.yaml names all keys: what is at its default says nothing.
        default = {key: field.get_default(call_default_factory=True) for key, field in type(prior).model_fields.items()}
        odd = [key for key in HOW_IT_IS_RUN if key in default and getattr(prior, key) != default[key]]
        if odd:
            raise ValueError(f"'{odd[0]}' means something for the oracle of a loop only, nothing for a prior")
        return prior


class TaylorConfig(PriorFormConfig):
    """Displaced positions labelled by the expansion about the frame's own labels."""

    form: Literal["taylor"] = "taylor"
    """The error against the expansion of the labels."""
    weight: NonNegativeFloat = 100.0
    """λ_M, in the units of λ_F; 0 switches the term off."""
    prior: Annotated[SerializeAsAny[Section], Tagged(PRIORS, DEFAULT_PRIOR)] | None = None
    """Whose surface stands for what the labels do not say, beyond the first order of the energy: null for nothing,
    else as in `difference`."""
    forces: NonNegativeFloat = 1.0
    """Weight of the forces in the term; 0 leaves the energy alone, as PIWSL does."""
    energy: NonNegativeFloat = 0.001
    """Weight of the squared error of the total energy over that of a squared force component, in 1/Å²."""

    @model_validator(mode="after")
    def _weighs_something(self) -> TaylorConfig:
        if self.forces == 0.0 and self.energy == 0.0:
            raise ValueError("'forces' and 'energy' are both 0: nothing is left of the term")
        return self

    @property
    def learns_labels(self) -> bool:
        return True


class DifferenceConfig(PriorFormConfig):
    """The change of the gradient under a displacement, against a prior's change."""

    form: Literal["difference"] = "difference"
    """The change of the gradient, against the prior's."""
    weight: NonNegativeFloat = 100.0
    """λ_M, in the units of λ_F; 0 switches the term off."""
    prior: Annotated[SerializeAsAny[Section], Tagged(PRIORS, DEFAULT_PRIOR)]
    """The cheap method, as in `PriorFormConfig`: `{kind: springs}`, `{kind: tblite, method: GFN1-xTB}`, ..."""


class HvpConfig(PriorFormConfig):
    """Hessian-vector products against a prior's, by central differences of `width`."""

    form: Literal["hvp"] = "hvp"
    """Hessian-vector products, against the prior's."""
    weight: NonNegativeFloat = 0.1
    """λ_M, of a squared element of the Hessian in (eV/Å²)²; 0 switches the term off."""
    width: PositiveFloat = 0.02
    """Step of the difference in Å (of `units: scaled`, `length_scale`); the probe has 1 or -1 for every coordinate."""
    every: PositiveInt = 8
    """Evaluate on every k-th step only, times k: unbiased. Each evaluation takes two calculations of the prior."""
    prior: Annotated[SerializeAsAny[Section], Tagged(PRIORS, DEFAULT_PRIOR)]
    """The cheap method, as in `PriorFormConfig`: `{kind: springs}`, `{kind: tblite, method: GFN1-xTB}`, ..."""


class TeacherConfig(FormConfig):
    """Towards a steadier version of the model at displaced positions."""

    form: Literal["teacher"] = "teacher"
    """The distance to the teacher's gradient."""
    weight: NonNegativeFloat = 100.0
    """λ_M, in the units of λ_F; 0 switches the term off."""
    towards: Literal["average", "committee"] = "average"
    """`average`: the moving average of the member's own weights (`optimiser.ema_decay`). `committee`: the mean of the
    members, who then are not independent any more, and agree where nobody has told them the truth."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Part of a batch (at least one frame) that it is evaluated on, drawn at random and scaled up."""


class DenoiseConfig(FormConfig):
    """Guess the displacement from where the atoms are and the forces where they were."""

    form: Literal["denoise"] = "denoise"
    """The error of a displacement that an auxiliary readout guesses."""
    weight: NonNegativeFloat = 10.0
    """λ_M, of the squared error of a coordinate over `width`, which is 1 where nothing is guessed; 0 switches the term
    off."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Part of a batch (at least one frame) that it is evaluated on, drawn at random and scaled up."""

    @property
    def learns_labels(self) -> bool:
        return True
