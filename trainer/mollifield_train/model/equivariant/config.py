"""Keys of the equivariant architecture."""

from typing import Any, ClassVar, Literal

import pydantic
from pydantic import Field, NonNegativeInt, PositiveInt

from ..config import ArchitectureConfig


class EquivariantConfig(ArchitectureConfig):
    """E(3)-equivariant message passing (`network.EquivariantPotential`)."""

    kind: Literal["equivariant"] = "equivariant"
    """Messages of all angular momenta up to `l_max`."""
    l_max: NonNegativeInt = 2
    """Largest angular momentum of the node features and spherical harmonics."""
    n_layers: PositiveInt = 2
    """Message-passing layers; the receptive field is n_layers * r_max."""
    n_channels: PositiveInt = 32
    """Channels of each angular momentum; also the length of the latent vector."""
    n_radial: PositiveInt = 8
    """Radial basis functions."""
    radial_hidden: list[PositiveInt] = Field(default_factory=lambda: [64])
    """Widths of the hidden layers of the radial network."""
    readout_hidden: PositiveInt = 16
    """Width of the last readout's hidden layer."""
    messages: Literal["coupled", "scattered"] = "scattered"
    """`coupled`: features of a neighbour times harmonics of the edge, all products. `scattered`: its scalars times
    harmonics, and its features times a weight, and no products before the sum: angular momenta couple on the atom
    alone, which takes a `correlation` of 2 or 3. As accurate, and a third less work with 32 channels."""
    correlation: Literal[1, 2, 3] = 3
    """Messages of an atom enter its update linearly (1), or with products of pairs (2) and of triples (3) as well.
    With `n_layers: 1` the energies of atoms are functions of their neighbours alone, up to the 4-body terms of the
    atomic cluster expansion (3), the power spectrum of SOAP (2), or radial symmetry functions as of Behler and
    Parrinello (1, or `l_max: 0`)."""
    rms_norm: bool = True
    """Divide an atom's messages by the root of their mean square plus one before they are multiplied with each other,
    so that products do not run away where geometries are unlike those of the training."""
    backend: Literal["auto", "native", "e3nn"] = "auto"
    """Who computes: the compiled operators, e3nn, or the former where they are built."""
    zbl: bool = True
    """Add the Ziegler-Biersack-Littmark repulsion between nuclei that are nearer than in any training frame."""

    @pydantic.model_validator(mode="after")
    def _couples_somewhere(self) -> "EquivariantConfig":
        if self.messages == "scattered" and self.correlation == 1 and self.l_max > 0:
            raise ValueError("with 'correlation' 1 nothing would couple 'messages' that are scattered: choose coupled")
        return self

    EARLIER: ClassVar[dict[str, Any]] = {"messages": "coupled", "rms_norm": False}
    NOT_OF_THE_NETWORK: ClassVar[frozenset[str]] = ArchitectureConfig.NOT_OF_THE_NETWORK | {"backend"}
