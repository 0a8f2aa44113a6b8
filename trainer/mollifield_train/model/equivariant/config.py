"""Keys of the equivariant architecture."""

from typing import ClassVar, Literal

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
    correlation: Literal[1, 2] = 1
    """Messages of an atom enter its update linearly (1), or with products of pairs as well (2)."""
    backend: Literal["auto", "native", "e3nn"] = "auto"
    """Who computes: the compiled operators, e3nn, or the former where they are built."""
    zbl: bool = True
    """Add the Ziegler-Biersack-Littmark repulsion between nuclei that are nearer than in any training frame."""

    NOT_OF_THE_NETWORK: ClassVar[frozenset[str]] = ArchitectureConfig.NOT_OF_THE_NETWORK | {"backend"}
