"""What a config may say of springs."""

from typing import Literal

from pydantic import PositiveFloat

from ..section import Section


class SpringsConfig(Section):
    """Springs between all pairs of atoms, of any shape, fitted once to the training forces."""

    kind: Literal["springs"] = "springs"
    reach: PositiveFloat = 4.0
    """Å. Pairs that are farther apart have none; at most the model's `r_max`."""
    spacing: PositiveFloat = 0.15
    """Å between the centres of the functions that make up a spring, and their width."""
