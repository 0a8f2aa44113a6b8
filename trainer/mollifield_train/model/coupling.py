"""Clebsch-Gordan coefficients as the sparse table that the native operators read."""

import torch
from e3nn import o3
from torch import Tensor

from .irreps import Path


def coupling_table(paths: list[Path]) -> tuple[Tensor, Tensor]:
    """`(terms [T, 4] int64, coefficients [T] float64)` of `paths` sorted by l_3.

    Columns of `terms`: output row, path, component of the first factor, of the second; sorted. Output rows of
    one l are `offset(l) + m * n_paths + rank of the path`, as `EquivariantLinear` reads them.
    Coefficients are sqrt(2 l_3 + 1) times e3nn's Wigner 3j symbols.
    """
    entries: list[tuple[tuple[int, int, int, int], float]] = []
    offset = 0
    for l in sorted({path.l_3 for path in paths}):
        same = [k for k, path in enumerate(paths) if path.l_3 == l]
        for rank, k in enumerate(same):
            l_1, l_2, _ = paths[k]
            symbol = o3.wigner_3j(l_1, l_2, l, dtype=torch.float64) * (2 * l + 1) ** 0.5
            for m_1, m_2, m_3 in symbol.abs().gt(1e-12).nonzero().tolist():
                row = offset + m_3 * len(same) + rank
                term = (row, k, l_1 * l_1 + m_1, l_2 * l_2 + m_2)
                entries.append((term, float(symbol[m_1, m_2, m_3])))
        offset += (2 * l + 1) * len(same)
    entries.sort()
    terms = torch.tensor([term for term, _ in entries], dtype=torch.int64)
    return terms, torch.tensor([value for _, value in entries], dtype=torch.float64)
