"""What every architecture may be told; each kind adds its own keys."""

from typing import Any, ClassVar, Literal

import pydantic
from ase.data import chemical_symbols
from pydantic import PositiveFloat

from ..section import Section


class ArchitectureConfig(Section):
    """Architecture of one member. Subclasses make `kind` a `Literal` with the name of their line in the table."""

    kind: str
    """Which architecture."""
    r_max: PositiveFloat = 5.0
    """Cutoff in Å."""
    shifts: Literal["auto", "least_squares", "isolated_atoms"] | dict[str, float] = "auto"
    """Energy of each species in eV. `auto`: from isolated atoms in `data.train` (frames of one atom without neighbours
    within 8 Å), by least squares for the species that have none. Molecules that come apart then end nearer to the
    truth; the binding energy is left to the network, which takes it longer (50 frames of ethanol, 120 epochs: force
    error a tenth larger than with `least_squares`, energy error without one hydrogen 40 to 50% smaller).
    `least_squares`: fitted to the training frames, and again to what is left after training, each member by itself
    and by absolute errors; species whose energies the compositions do not tell apart are named, see
    `mollifield_train.data.shifts`. `isolated_atoms`: from those alone. Or a mapping such as {H: -13.6, O: -2041.8}.
    Energies that are not fitted are kept as they are."""

    NOT_OF_THE_NETWORK: ClassVar[frozenset[str]] = frozenset({"shifts"})
    """Keys that weights do not depend on: they fit into a network with other values of these."""

    EARLIER: ClassVar[dict[str, Any]] = {}
    """What keys that came later mean for configs and weights that do not have them."""

    def of_the_network(self) -> dict[str, Any]:
        """Plain values of the keys that decide which weights there are, and what they mean."""
        return self.model_dump(mode="json", exclude=set(self.NOT_OF_THE_NETWORK))

    @pydantic.field_validator("shifts")
    @classmethod
    def _symbols_exist(cls, shifts: Any) -> Any:
        for symbol in shifts if isinstance(shifts, dict) else ():
            if symbol not in chemical_symbols[1:]:
                raise ValueError(f"'{symbol}' is not a chemical symbol")
        return shifts
