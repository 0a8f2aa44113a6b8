"""What is said about files of one origin: how they are read, and what their labels are called and mean."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .keys import LabelKeys
from .unit_names import EnergyUnit, ForcesUnit, Sign, StressUnit


@dataclass(frozen=True)
class Origin:
    """Files of one origin; what its fields say is written at `config.OriginConfig`, which has the same."""

    files: str = "*"
    format: str | None = None
    symbols: Sequence[str] | None = None
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None
    energy_unit: EnergyUnit = "eV"
    forces_unit: ForcesUnit = "eV/Å"
    stress_unit: StressUnit = "eV/Å^3"
    stress_sign: Sign = "tension"
    virial_sign: Sign = "compression"
    config_type: str | None = None
    weight: float = 1.0

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
