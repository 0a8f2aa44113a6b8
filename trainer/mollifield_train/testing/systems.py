"""Frames of hydrogen, carbon and oxygen, and an architecture for them."""

from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from ..model.architecture import Architecture, Settings

R_MAX = 4.0
"""Å: the cutoff that the frames are made for."""
SPECIES = ("H", "C", "O")


def example_architecture(
    settings: Settings, n_members: int = 3, dtype: torch.dtype = torch.float64
) -> Architecture[Settings]:
    """As from data with forces of a few eV/Å; `settings.r_max` must be `R_MAX` for `conformance`."""
    return Architecture(
        settings=settings,
        species=SPECIES,
        average_neighbours=8.0,
        atomic_shifts=(-13.6, -1030.0, -2042.0),
        energy_scale=2.0,
        n_members=n_members,
        dtype=dtype,
    )


def sheared_crystal() -> Atoms:
    """A CO-like solid in a sheared triclinic cell, one edge shorter than `R_MAX`."""
    atoms = bulk("CO", "rocksalt", a=4.4) * (1, 2, 2)
    strain = np.array([[1.02, 0.0, 0.0], [0.08, 0.97, 0.0], [0.05, -0.06, 1.03]])
    atoms.set_cell(atoms.cell.array @ strain.T, scale_atoms=True)
    atoms.rattle(0.08, seed=1)
    return atoms


def ethanol() -> Atoms:
    """One molecule."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=2)
    return atoms


def slab() -> Atoms:
    """Periodic in x and y only, the third lattice vector missing."""
    atoms = sheared_crystal()
    atoms.pbc = [True, True, False]
    return atoms


FRAMES: dict[str, Callable[[], Atoms]] = {"crystal": sheared_crystal, "ethanol": ethanol, "slab": slab}
