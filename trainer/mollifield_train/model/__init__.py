"""The equivariant potential: edges in, atomic energies out; knows no config, loss or file."""

from .potential import Potential

__all__ = ["Potential"]
