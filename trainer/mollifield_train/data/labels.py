"""Labels of a frame, checked, in eV and Å and ASE's signs."""

from collections.abc import Mapping
from typing import NamedTuple

import ase
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from .keys import find_label, present
from .origins import Origin
from .units import ENERGY, FORCES, STRESS

FORCES_MASK = "forces_mask"
"""Key of an array that says of each atom whether its force counts."""


class Labels(NamedTuple):
    """What is known of a frame; None where there is no such label."""

    energy: float | None
    """eV."""
    forces: np.ndarray | None
    """[N, 3], eV/Å."""
    stress: np.ndarray | None
    """[3, 3], eV/Å^3."""


def labels_of(atoms: ase.Atoms, names: Mapping[str, str], origin: Origin, where: str) -> Labels:
    """The labels of a frame as its file has them.

    `names`: of the labels in the file. `origin`: their units and signs. `where`: 'frame 3 of train.xyz', for messages.
    Raises ValueError: a label is unusable, or there is none at all.
    """
    stress = _stress(atoms, names["stress"], where)
    if stress is not None:
        stress = stress * (STRESS[origin.stress_unit] * (1.0 if origin.stress_sign == "tension" else -1.0))
    virial = _stress(atoms, names["virial"], where) if "virial" in names else None
    if virial is not None:
        factor = ENERGY[origin.energy_unit] * (-1.0 if origin.virial_sign == "compression" else 1.0)
        stress = virial * (factor / atoms.get_volume())
    energy = _energy(atoms, names["energy"], where)
    forces = _forces(atoms, names["forces"], where)
    if energy is None and forces is None and stress is None:
        keys = ", ".join(f"'{key}'" for key in names.values())
        raise ValueError(
            f"{where}: none of {keys}; {present(atoms)}. Other names are told by energy_key, forces_key, ..."
        )
    return Labels(
        None if energy is None else energy * ENERGY[origin.energy_unit],
        None if forces is None else forces * FORCES[origin.forces_unit],
        stress,
    )


def _energy(atoms: ase.Atoms, key: str, where: str) -> float | None:
    value = find_label(atoms, key)
    if value is None:
        return None
    value = _as_floats(value, key, where)
    if key in atoms.arrays and value.shape == (len(atoms),):
        value = value.sum()  # energies of the atoms, as LAMMPS dumps have them
    if value.size != 1:
        raise ValueError(f"{where}: '{key}' must be one number, found shape {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{where}: '{key}' is not finite: {value.item()}")
    return float(value.item())


def _forces(atoms: ase.Atoms, key: str, where: str) -> np.ndarray | None:
    value = find_label(atoms, key)
    if value is None:
        return None
    value = _as_floats(value, key, where)
    if value.shape != (len(atoms), 3):
        raise ValueError(f"{where}: '{key}' has shape {value.shape}, expected ({len(atoms)}, 3)")
    require_finite(value, key, atoms, where)
    return value


def forces_mask_of(atoms: ase.Atoms, where: str) -> np.ndarray | None:
    """[N] bool, the array `FORCES_MASK`; None where it is missing, or true of all atoms.

    Raises ValueError: it is something else, or no atom is left.
    """
    value = atoms.arrays.get(FORCES_MASK)
    if value is None:
        return None
    if value.shape != (len(atoms),) or not np.isin(value, (0, 1)).all() or not value.any():
        raise ValueError(
            f"{where}: '{FORCES_MASK}' must be true or false (1 or 0) for each atom, and true for some; found "
            f"shape {value.shape}, {value.ravel()[:4].tolist()} at its beginning"
        )
    return None if value.all() else value.astype(bool)


def _stress(atoms: ase.Atoms, key: str, where: str) -> np.ndarray | None:
    value = find_label(atoms, key)
    # Programs write zeros, or what is left of a box of vacuum, for molecules and slabs.
    if value is None or not atoms.pbc.all():
        return None
    value = _as_floats(value, key, where)
    if value.size == 6 and value.ndim == 1:
        value = voigt_6_to_full_3x3_stress(value)
    elif value.shape in ((9,), (3, 3)):
        value = value.reshape(3, 3)
    else:
        raise ValueError(
            f"{where}: '{key}' has shape {value.shape}; allowed are (6,) in Voigt order "
            "xx yy zz yz xz xy, (9,) and (3, 3)"
        )
    if not np.isfinite(value).all():
        raise ValueError(f"{where}: '{key}' is not finite: {value.tolist()}")
    largest = np.abs(value).max()
    if np.abs(value - value.T).max() > 1e-3 * largest + 1e-8:
        raise ValueError(f"{where}: '{key}' is not symmetric: {value.tolist()}")
    return 0.5 * (value + value.T)


def _as_floats(value: object, key: str, where: str) -> np.ndarray:
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: '{key}' is not numeric: {value!r}") from None


def require_finite(value: np.ndarray, key: str, atoms: ase.Atoms, where: str) -> None:
    """Raises ValueError that names the first atom with a row of `value` [N, 3] that is not finite."""
    bad = np.flatnonzero(~np.isfinite(value).all(axis=1))
    if bad.size:
        k = int(bad[0])
        symbol = atoms.get_chemical_symbols()[k]
        raise ValueError(f"{where}: '{key}' of atom {k} ({symbol}) not finite: {value[k].tolist()}")
