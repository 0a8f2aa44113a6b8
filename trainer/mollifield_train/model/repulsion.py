"""Screened nuclear repulsion, for the short distances that no training frame visits."""

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from .radial import polynomial_envelope

COULOMB = 14.399645478425668
"""e^2 / (4 pi eps_0) in eV Å."""
BOHR = 0.529177210544
"""Å."""
INSIDE = 0.8
"""Hotter frames than those of the training come nearer, by a tenth or so, and are no collisions yet."""


class ZBLRepulsion(nn.Module):
    """Ziegler, Biersack, Littmark, "The Stopping and Range of Ions in Matter" (1985), eqs. 2-59 ff.

    E = 1/2 sum_ij Z_i Z_j e^2/(4 pi eps_0 r) phi(r/a) u(r/r_ij), a = 0.8854 a_0/(Z_i^.23 + Z_j^.23),
    cut off smoothly (`polynomial_envelope`) at r_ij, the sum of the two covalent radii, or `INSIDE` times the shortest
    distance in the training frames where that is less: what was trained on feels nothing of it.
    """

    def __init__(
        self,
        numbers: list[int],
        r_max: float,
        dtype: torch.dtype,
        shortest_distances: tuple[tuple[float, ...], ...] | None = None,
    ) -> None:
        super().__init__()
        z = torch.tensor(numbers, dtype=torch.float64)
        radii = torch.tensor([covalent_radii[n] for n in numbers], dtype=torch.float64)
        cutoff = (radii[:, None] + radii[None, :]).clamp(max=r_max)
        if shortest_distances is not None:
            cutoff = torch.minimum(cutoff, INSIDE * torch.tensor(shortest_distances, dtype=torch.float64))
        self.reach = float(cutoff.max())
        screening = 0.8854 * BOHR / (z[:, None] ** 0.23 + z[None, :] ** 0.23)
        prefactor = 0.5 * COULOMB * z[:, None] * z[None, :]
        for name, table in (("cutoff", cutoff), ("screening", screening), ("prefactor", prefactor)):
            self.register_buffer(name, table.to(dtype), persistent=False)
        phi = torch.tensor([[0.18175, 0.50986, 0.28022, 0.02817], [3.1998, 0.94229, 0.4029, 0.20162]], dtype=dtype)
        self.register_buffer("phi", phi, persistent=False)

    def forward(self, lengths: Tensor, edge_index: Tensor, types: Tensor, n_centres: int) -> Tensor:
        """`lengths [G, E]` (Å) -> energy `[G, n_centres]` (eV) of each atom: half of its pairs'."""
        if lengths.is_cpu:  # elsewhere to ask how many there are would mean to wait
            near = (lengths.amin(dim=0) < self.reach).nonzero().squeeze(1)
            if near.numel() == 0:  # mostly; thirty operators on nothing would take a sixth of a small model's time
                return lengths.new_zeros(lengths.shape[0], n_centres)
            lengths, edge_index = lengths.index_select(1, near), edge_index.index_select(1, near)
        t_i, t_j = types[edge_index[0]], types[edge_index[1]]
        x = lengths / self.screening[t_i, t_j]
        screened = (self.phi[0] * torch.exp(-self.phi[1] * x.unsqueeze(-1))).sum(-1)
        pair = self.prefactor[t_i, t_j] / lengths * screened
        pair = pair * polynomial_envelope(lengths / self.cutoff[t_i, t_j])
        return pair.new_zeros(lengths.shape[0], n_centres).index_add(1, edge_index[0], pair)
