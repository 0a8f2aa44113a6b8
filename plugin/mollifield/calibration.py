"""How a model file turns the spread of its members into standard deviations: tables by quantity and species."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import contract

Array = NDArray[np.float64]

KNOTS = (
    *(contract.FORCE_STD, contract.FORCE_FLOOR, contract.FORCE_INTERVAL),
    *(contract.ENERGY_STD, contract.ENERGY_FLOOR, contract.ENERGY_INTERVAL),
)
"""Tables of pairs that rise."""


@dataclass(frozen=True)
class Calibration:
    """See CALIBRATION_KEY in `mollifield.contract`; None or 0 where a file states nothing."""

    force_knots: Array | None = None
    """[n_species, K, 2], eV/Å: pairs (raw, calibrated)."""
    energy_knots: Array | None = None
    """[1, K, 2], eV/atom."""
    force_floor: Array | None = None
    """[n_species, K, 2]: pairs (squared relative distance, eV/Å)."""
    energy_floor: Array | None = None
    """[1, K, 2]: pairs (mean of these squares, eV/atom)."""
    force_interval: Array | None = None
    """[n_species, K, 2]: pairs (level, multiple of the std)."""
    energy_interval: Array | None = None
    """[1, K, 2], likewise."""
    force_noise: Array | None = None
    """[n_species], eV/Å."""
    energy_noise: float = 0.0
    """eV/atom."""

    def force_std(self, raw: Array, types: NDArray[np.int64]) -> Array:
        """Raw stds `[N]` (eV/Å) of atoms of `types [N]` -> calibrated `[N]`."""
        return raw if self.force_knots is None else by_species(self.force_knots, raw, types)

    def energy_std(self, raw: float, n_atoms: int) -> float:
        """Raw std of a total energy (eV) of `n_atoms` -> calibrated."""
        if self.energy_knots is None:
            return raw
        return n_atoms * float(interpolated(self.energy_knots[0], np.array([raw / n_atoms]))[0])

    def force_floor_std(self, distance: Array, types: NDArray[np.int64]) -> Array:
        """Relative latent distances `[N]` of atoms of `types [N]` -> eV/Å `[N]`, for a force std in quadrature."""
        if self.force_floor is None:
            return np.zeros_like(distance)
        return by_species(self.force_floor, distance**2, types)

    def energy_floor_std(self, distance: Array) -> float:
        """The same of the std of a total energy, eV."""
        if self.energy_floor is None:
            return 0.0
        return len(distance) * float(interpolated(self.energy_floor[0], np.mean(distance**2, keepdims=True))[0])

    def multiples(self, level: float, types: NDArray[np.int64]) -> Array | None:
        """By what stds of atoms of `types [N]` are multiplied to intervals `[N]`; None: there is no such level."""
        found = _at_level(self.force_interval, level)
        return None if found is None else found[types]

    def energy_multiple(self, level: float) -> float | None:
        """The same of the total energy."""
        found = _at_level(self.energy_interval, level)
        return None if found is None else float(found[0])

    def levels(self) -> list[float]:
        """That forces have intervals of."""
        return [] if self.force_interval is None else self.force_interval[0, :, 0].tolist()

    def described(self) -> str:
        """One line for people."""
        parts = [
            f"{name} x {np.array2string(knots[:, -1, 1] / knots[:, -1, 0], precision=4)} ({knots.shape[1]} knot(s))"
            for name, knots in (("force std", self.force_knots), ("energy std", self.energy_knots))
            if knots is not None
        ]
        if self.force_floor is not None:
            parts.append(
                f"floor of force std {np.array2string(_at_one(self.force_floor), precision=4)} eV/Å at the reach"
            )
        if self.levels():
            parts.append(f"intervals of {', '.join(f'{100 * level:g}%' for level in self.levels())}")
        if self.force_noise is not None:
            parts.append(f"force noise {np.array2string(self.force_noise, precision=4)} eV/Å")
        if self.energy_noise:
            parts.append(f"energy noise {self.energy_noise:.4g} eV/atom")
        return ", ".join(parts) or "none"


def interpolated(knots: Array, raw: Array) -> Array:
    """Piecewise linear through (0, 0) and `knots [K, 2]`; beyond the last one proportional to it."""
    x, y = np.concatenate([[[0.0, 0.0]], knots]).T
    return np.where(raw > x[-1], raw * (y[-1] / x[-1]), np.interp(raw, x, y))


def by_species(tables: Array, raw: Array, types: NDArray[np.int64]) -> Array:
    """`interpolated` in the rows of `tables [n_species, K, 2]` that `types [N]` say, `raw [N]` -> `[N]`."""
    found = np.empty_like(raw)
    for species in np.unique(types):
        rows = types == species
        found[rows] = interpolated(tables[species], raw[rows])
    return found


def _at_one(tables: Array) -> Array:
    """`[n_rows, K, 2]` -> values at 1 `[n_rows]`."""
    return by_species(tables, np.ones(len(tables)), np.arange(len(tables)))


def _at_level(table: Array | None, level: float) -> Array | None:
    """`[n_rows, K, 2]` -> multiples `[n_rows]`."""
    if table is None:
        return None
    place = np.flatnonzero(np.isclose(table[0, :, 0], level, rtol=0.0, atol=1e-9))
    return table[:, place[0], 1] if len(place) else None


def read_calibration(stated: Mapping[str, Tensor] | Mapping[str, float], n_species: int) -> Calibration:
    """What a file's attribute says, of any readable version. Raises `ValueError` for tables that are none."""
    tables = tables_of(stated, n_species)
    arrays = {key: np.asarray(table.to(torch.float64).cpu().numpy()) for key, table in tables.items()}
    for key in KNOTS:
        knots = arrays.get(key)
        if knots is None:
            continue
        n_rows = 1 if key.startswith("energy") else n_species
        if knots.ndim != 3 or knots.shape[0] != n_rows or knots.shape[1] < 1 or knots.shape[2] != 2:
            raise ValueError(f"calibration '{key}' has shape {list(knots.shape)}, expected [{n_rows}, K, 2]")
        if not (np.isfinite(knots).all() and (knots > 0.0).all() and (np.diff(knots, axis=1) > 0.0).all()):
            raise ValueError(f"calibration '{key}': its knots are not positive and rising")
    noise = arrays.get(contract.FORCE_NOISE_STD)
    if noise is not None and noise.shape != (n_species,):
        raise ValueError(
            f"calibration '{contract.FORCE_NOISE_STD}' has shape {list(noise.shape)}, expected [{n_species}]"
        )
    return Calibration(
        force_knots=arrays.get(contract.FORCE_STD),
        energy_knots=arrays.get(contract.ENERGY_STD),
        force_floor=arrays.get(contract.FORCE_FLOOR),
        energy_floor=arrays.get(contract.ENERGY_FLOOR),
        force_interval=arrays.get(contract.FORCE_INTERVAL),
        energy_interval=arrays.get(contract.ENERGY_INTERVAL),
        force_noise=noise,
        energy_noise=float(arrays[contract.ENERGY_NOISE_STD].item()) if contract.ENERGY_NOISE_STD in arrays else 0.0,
    )


def tables_of(stated: Mapping[str, Tensor] | Mapping[str, float], n_species: int) -> dict[str, Tensor]:
    """Tables of `mollifield.contract` from tables, or from the plain numbers of version 1.

    There, the factors `force_std_factor` and `energy_std_factor` hold for all species.
    """
    tables = {}
    for key, value in stated.items():
        if isinstance(value, Tensor):
            tables[key] = value
            continue
        rows = 1 if key.startswith("energy") else n_species
        knot = [[1.0, float(value)]] if key.endswith("_factor") else float(value)
        tables[key.removesuffix("_factor")] = torch.tensor([knot] * rows, dtype=torch.float64)
    return tables
