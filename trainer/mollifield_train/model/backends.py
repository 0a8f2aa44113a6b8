"""Who computes the operations that cost time: implementations by name."""

from typing import NamedTuple

from torch import nn

from mollifield.native import has_native

from .convolution import ConvolutionE3nn, ConvolutionNative
from .geometry import GeometryE3nn, GeometryNative
from .linear import EquivariantLinear, Gate, GateNative, LinearNative
from .messages import RadialMessages, TabulatedMessages
from .product import ProductE3nn, ProductNative


class Backend(NamedTuple):
    """One implementation of the operations that cost time."""

    geometry: type[nn.Module]
    convolution: type[nn.Module]
    product: type[nn.Module]
    linear: type[EquivariantLinear]
    gate: type[Gate]
    messages: type[RadialMessages]


BACKENDS = {
    "e3nn": Backend(GeometryE3nn, ConvolutionE3nn, ProductE3nn, EquivariantLinear, Gate, RadialMessages),
    "native": Backend(GeometryNative, ConvolutionNative, ProductNative, LinearNative, GateNative, TabulatedMessages),
}
"""Implementations by name; all give the same numbers."""


def choose_backend(backend: str) -> str:
    """`auto` is `native` where the library is built, else `e3nn`; unknown names are refused."""
    if backend == "auto":
        return "native" if has_native() else "e3nn"
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r}: allowed are auto, {', '.join(sorted(BACKENDS))}")
    return backend
