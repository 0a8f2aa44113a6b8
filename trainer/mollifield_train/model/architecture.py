"""The value that a model is built from."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from .config import ArchitectureConfig

Settings = TypeVar("Settings", bound=ArchitectureConfig)


@dataclass(frozen=True)
class Architecture(Generic[Settings]):
    """All that makes a model but its weights; `ValueError` where shifts and species are not as many.

    Shifts and scale are statistics of the data: E_i = energy_scale * network_i + shift[type_i]. They belong to the
    state of a model (`samples.member_state`), where members may come to differ in them; these are the first values.
    """

    settings: Settings
    """The keys of its kind."""
    species: tuple[str, ...]
    """Chemical symbols, in the order of types."""
    average_neighbours: float
    """Mean number of neighbours within the cutoff in the training frames."""
    atomic_shifts: tuple[float, ...]
    """eV, one for each species."""
    energy_scale: float
    """eV, the scale of forces times 1 Å."""
    n_members: int
    dtype: torch.dtype
    shortest_distances: tuple[tuple[float, ...], ...] | None = None
    """Å, of atoms of each pair of species in the training frames, r_max where none are nearer; None: not known."""
    shared_trunk: bool = False
    """Whether members are samples on one trunk: tensors below the readout then have a leading dimension of 1."""

    @property
    def n_trunks(self) -> int:
        """Leading dimension of what lies below the readout."""
        return 1 if self.shared_trunk else self.n_members

    def __post_init__(self) -> None:
        if len(self.atomic_shifts) != len(self.species):
            raise ValueError(f"{len(self.atomic_shifts)} atomic shifts for {len(self.species)} species")

    def of_the_network(self) -> dict[str, Any]:
        """Plain values that two models must share if weights of one are to mean the same in the other."""
        return {
            "species": list(self.species),
            "average_neighbours": self.average_neighbours,
            "shortest_distances": self.shortest_distances,
            **self.settings.of_the_network(),
        }
