"""What a training may be told of where its uncertainty comes from, beside members of their own."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, NonNegativeInt, PositiveInt

from .section import TAG, Section


class HeadsConfig(Section):
    """The members of the committee are readouts of one trunk, trained together (`training.heads`).

    Their mean is learnt as a member by itself would be. Their spread of energies is taught by the likelihood of the
    labels, of a normal distribution with the heads' mean and spread; in the last part of the run that of forces
    likewise. After Schäfer, Kästner, Kellner and Ceriotti, "How to train a shallow ensemble", arXiv 2602.15747.
    """

    kind: Literal["heads"] = "heads"
    last: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3
    """Part of the run, at its end, in which the likelihood of forces counts."""
    every: PositiveInt = 4
    """It is asked in every k-th step, k times as much: it takes a backward pass for each head."""


class DropoutConfig(Section):
    """Each member becomes several *passes* through it, in which inputs of its linear maps are left out at random.

    Whole irreps, never components, the same ones for all atoms (`training.dropout`). In training they are drawn anew at
    every step; the exported file has `passes` models for each member, with masks that are drawn once. After Gal and
    Ghahramani, "Dropout as a Bayesian approximation", arXiv 1506.02142.
    """

    kind: Literal["mc_dropout"] = "mc_dropout"
    probability: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """With which an input is left out; the others are divided by 1 minus this. More of it makes errors larger, and the
    spread truer on frames unlike those of the training (docs/uncertainty.md)."""
    where: Literal["readout", "everywhere"] = "readout"
    """`readout`: inputs of the two maps that read energies out. `everywhere`: of all maps between features as well."""
    passes: Annotated[int, Field(ge=2)] = 8
    """Models in the exported file for each member of the committee, which may be one: `committee.n_members: 1`."""
    seed: NonNegativeInt = 0
    """Of the masks, with those of the members."""


def _named(value: Any) -> Any:
    return {TAG: value} if isinstance(value, str) else value


Sources = HeadsConfig | DropoutConfig
SourceConfig = Annotated[
    Sources,
    Field(discriminator=TAG),
    pydantic.BeforeValidator(_named, json_schema_input_type=Sources | Literal["heads", "mc_dropout"]),
]
"""By its `kind`, which may stand alone: `heads` or `{kind: heads, last: 0.5}`."""


class UncertaintyConfig(Section):
    """Where the spread of the exported file comes from; members that differ in their seeds are there anyway."""

    kinds: Annotated[list[SourceConfig], Field(min_length=1)]
    """One of each kind at most: `heads` or `mc_dropout`, which do not go together."""

    @pydantic.model_validator(mode="after")
    def _go_together(self) -> "UncertaintyConfig":
        kinds = [source.kind for source in self.kinds]
        if len(kinds) > 1:
            raise ValueError(f"'kinds' are {', '.join(kinds)}: allowed is one of heads and mc_dropout")
        return self
