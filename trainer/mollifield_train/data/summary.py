"""What passes over all frames ask of each: a few numbers, which lie in memory also where the frames do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from .frames import Frame


class Summary(Protocol):
    """A labelled frame without its atoms: a `Frame`, or one that lies in a cache (`data.cache`)."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        ...

    @property
    def composition(self) -> Mapping[str, int]:
        """Atoms of each element, by chemical symbol in the order of atomic numbers."""
        ...

    @property
    def arrangement(self) -> bytes:
        """The same for frames with the same atoms in the same order, periodic in the same directions."""
        ...

    @property
    def volume(self) -> float | None:
        """Å^3; None unless all three directions are periodic."""
        ...

    @property
    def energy(self) -> float | None:
        """eV; None where there is no such label, as for all labels."""
        ...

    @property
    def mean_square_force(self) -> float | None:
        """(eV/Å)^2, over components."""
        ...

    @property
    def largest_force(self) -> float | None:
        """eV/Å: length of the longest force."""
        ...

    @property
    def is_stress_zero(self) -> bool:
        """Whether it has a stress, of exactly zero."""
        ...

    @property
    def labels(self) -> list[str]:
        """Which labels it has."""
        ...

    @property
    def content(self) -> str:
        """The key of its geometry (`data.content`)."""
        ...

    @property
    def config_type(self) -> str:
        """The group that it belongs to; empty where nobody says."""
        ...

    @property
    def origin(self) -> str:
        """Where it came from: 'frame 12 of train.xyz'."""
        ...

    @property
    def file(self) -> str:
        """The file that it came from."""
        ...

    @property
    def is_isolated_atom(self) -> bool:
        """A single atom without periodic images near it."""
        ...

    def loaded(self) -> Frame:
        """All of it."""
        ...


Frames = TypeVar("Frames", bound=Summary)
"""Of functions that give back some of the frames that they were given."""
