"""Which angular momenta a layer holds, and which of their products exist.

Features are *component-major*: `[M, N, (l_max+1)^2, C]`, all components of l = 0, then l = 1, ...,
each in e3nn's order (l = 1 is x, y, z), channels innermost. Every l has natural parity
(-1)^l, so that a path (l_1, l_2 -> l_3) exists when the triangle inequality holds and l_1+l_2+l_3 is
even: the model is equivariant under O(3), inversion included.
"""

from typing import NamedTuple


class Path(NamedTuple):
    """One coupling of node features (l_1) with spherical harmonics (l_2) to messages (l_3)."""

    l_1: int
    l_2: int
    l_3: int


def tensor_product_paths(l_max_in: int, l_max_edge: int, l_max_out: int) -> list[Path]:
    """All natural-parity paths, sorted by l_3, then l_1, then l_2."""
    return [
        Path(l_1, l_2, l_3)
        for l_3 in range(l_max_out + 1)
        for l_1 in range(l_max_in + 1)
        for l_2 in range(l_max_edge + 1)
        if abs(l_1 - l_2) <= l_3 <= l_1 + l_2 and (l_1 + l_2 + l_3) % 2 == 0
    ]


def scattered_paths(l_max_in: int, l_max_edge: int, l_max_out: int) -> list[Path]:
    """Those that couple nothing: scalars with harmonics (0, l -> l), features with the edge's scalar (l, 0 -> l)."""
    paths = tensor_product_paths(l_max_in, l_max_edge, l_max_out)
    return [path for path in paths if path.l_1 == 0 or path.l_2 == 0]


MESSAGE_PATHS = {"coupled": tensor_product_paths, "scattered": scattered_paths}
"""By the name of the choice: (l_max_in, l_max_edge, l_max_out) -> paths of a layer's messages."""


def paths_per_l(paths: list[Path]) -> list[int]:
    """How many paths lead to each l_3."""
    degrees = [path.l_3 for path in paths]
    return [degrees.count(l) for l in range(max(degrees) + 1)]
