"""What is said about files of one origin: how they are read, and what their labels are called and mean."""

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat

from ..section import Section
from .keys import LabelKeys
from .units import EnergyUnit, ForcesUnit, Sign, StressUnit


class Origin(Section):
    """Files of one origin. Keys that are null, or not given, are those of the whole data."""

    files: str = "*"
    """Which: a pattern (`*`, `?`, `[...]`; `*` matches slashes too) for paths as they are given, or their ends. The
    first origin of the list that matches a file counts, alone."""
    format: str | None = None
    """ASE's name of the format, such as `vasp-out`; null: by the name of the file and what is in it."""
    symbols: Annotated[list[str], Field(min_length=1)] | None = None
    """Chemical symbols of LAMMPS' atom types, from type 1 on, for dumps without a column `element`."""
    energy_key: str | None = None
    """Key of the energy. One that names a column of values an atom stands for their sum."""
    forces_key: str | None = None
    """Key of the forces."""
    stress_key: str | None = None
    """Key of the stress."""
    virial_key: str | None = None
    """Key of a virial, which takes the place of the stress in frames that have it: stress = -virial / volume."""
    energy_unit: EnergyUnit = "eV"
    """Unit of the energy, and of the virial."""
    forces_unit: ForcesUnit = "eV/Å"
    """Unit of the forces."""
    stress_unit: StressUnit = "eV/Å^3"
    """Unit of the stress. VASP's and Quantum ESPRESSO's own files are in eV/Å^3 once ASE has read them."""
    stress_sign: Sign = "tension"
    """Under what a diagonal element of the stress is positive: `tension`, as ASE has it, or `compression`."""
    virial_sign: Sign = "compression"
    """Likewise of the virial: `compression`, as its definition has it, or `tension`."""
    config_type: str | None = None
    """Group of the frames that name none themselves."""
    weight: NonNegativeFloat = 1.0
    """Weight of its frames in the loss, times their own and that of their group."""

    def matches(self, path: Path) -> bool:
        """Whether it speaks of this file."""
        return any(fnmatch.fnmatchcase(str(path), pattern) for pattern in (self.files, f"*/{self.files}"))

    def keys(self, common: LabelKeys) -> LabelKeys:
        """Names of the labels, where it says nothing the `common` ones."""
        own = {"energy": self.energy_key, "forces": self.forces_key, "stress": self.stress_key}
        own |= {"virial": self.virial_key}
        return LabelKeys(**(vars(common) | {label: key for label, key in own.items() if key is not None}))


PLAIN = Origin()
"""Of files that nothing is said about: eV, Å, ASE's signs."""


def origin_of(path: Path, origins: Sequence[Origin]) -> Origin:
    """The first that matches, or `PLAIN`."""
    return next((origin for origin in origins if origin.matches(path)), PLAIN)


def require_files(origins: Iterable[Origin], paths: Sequence[Path]) -> None:
    """Raises ValueError for an origin that speaks of none of the files."""
    for origin in origins:
        if not any(origin.matches(path) for path in paths):
            found = ", ".join(map(str, paths[:5])) + (" ..." if len(paths) > 5 else "")
            raise ValueError(f"data.origins: '{origin.files}' matches no file; there are {found}")
