"""The part of a potential that is the same in every architecture."""

import torch
from torch import Tensor, nn

from .architecture import Architecture


class ScaledPotential(nn.Module):
    """Attributes and buffers of `protocol.Potential`, and the scale of its energies."""

    MEMBER_BUFFERS = ("atomic_shifts", "energy_scale")

    def __init__(self, architecture: Architecture, n_layers: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.species = list(architecture.species)
        self.r_max = architecture.settings.r_max
        self.n_layers = n_layers
        self.n_members = architecture.n_members
        self.shared_trunk = architecture.shared_trunk
        self.dtype = architecture.dtype
        shape = (architecture.n_members, len(self.species))
        shifts = torch.tensor(architecture.atomic_shifts, dtype=torch.float64).expand(shape).clone()
        self.register_buffer("atomic_shifts", shifts)
        scale = torch.full((architecture.n_members, 1), architecture.energy_scale, dtype=torch.float64)
        self.register_buffer("energy_scale", scale)

    def scaled(self, network: Tensor, types: Tensor) -> Tensor:
        """What a network gives, `[M, N]`, for atoms of `types [N]` -> atomic energies `[M, N]` float64, eV."""
        return network.to(torch.float64) * self.energy_scale + self.atomic_shifts.index_select(1, types)
