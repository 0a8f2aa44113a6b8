"""Between ASE's atoms and LAMMPS files: data files out, uncertain frames in.

LAMMPS wants a right-handed cell with a along x and b in the xy plane, and tilt only among periodic
axes. `write_data` turns the structure into that frame and returns the rotation that `read_uncertain`
undoes. Lattice vectors may come back as an equivalent choice of the same lattice.
"""

from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.units import fs
from numpy.typing import ArrayLike

MARGIN = 1.0
"""Å kept free on both sides of the atoms along axes without periodicity."""

ANGSTROM = {"metal": 1.0, "real": 1.0, "electron": 1.88972612}
"""LAMMPS length units in one Å; LAMMPS's own constant for electron (Bohr)."""

ENERGY_UNIT = {"metal": 1.0, "real": 23.060549, "electron": 3.16681534e-6 / 8.617343e-5}
"""LAMMPS energy units in one eV; electron (Hartree) by LAMMPS's own Boltzmann constants, as the pair style does."""

PICOSECOND = {"metal": 1.0, "real": 1e3, "electron": 1e3}
"""LAMMPS time units in one ps. Velocities of electron are Bohr/fs, other than its manual says: their kinetic energy
is m v^2 / 2 times 1.0666 Hartree / (amu Bohr^2 / fs^2)."""


@dataclass(frozen=True)
class Placement:
    """A structure in LAMMPS's frame, Å. x_lammps = x @ rotation, but for whole lattice vectors."""

    cell: np.ndarray
    """[3, 3], lower triangular; along axes without periodicity the extent of the atoms and a margin."""
    low: np.ndarray
    """[3], the corner of the cell."""
    positions: np.ndarray
    """[N, 3], inside the cell."""
    rotation: np.ndarray
    """[3, 3]."""


def lammps_boundary(atoms: Atoms) -> str:
    """Arguments of LAMMPS' `boundary` command for `atoms`: periodic axes p, others m (shrink-wrapped)."""
    return " ".join("p" if periodic else "m" for periodic in atoms.pbc)


def _periodic_frame(atoms: Atoms) -> np.ndarray:
    """Right-handed [3, 3] cell of `atoms` whose non-periodic vectors are unit normals to all others."""
    cell = np.array(atoms.cell, dtype=float)
    periodic = [axis for axis in range(3) if atoms.pbc[axis]]
    # NumPy up to 2.2, the last one of Python 3.10, knows no rank of an empty matrix.
    if periodic and np.linalg.matrix_rank(cell[periodic]) < len(periodic):
        raise ValueError(f"cell {cell.tolist()} has no extent along a periodic axis; pbc: {atoms.pbc.tolist()}")
    free = [axis for axis in range(3) if axis not in periodic]
    for axis in free:
        cell[axis] = _normal(cell[[k for k in range(3) if k in periodic or k < axis]], axis)
    if np.linalg.det(cell) < 0.0:
        # A mirrored structure would not be the same one. Negated vectors span the same lattice.
        cell[free[:1] or periodic] *= -1.0
    return cell


def _normal(vectors: np.ndarray, axis: int) -> np.ndarray:
    """Unit vector orthogonal to `vectors` [n, 3], n < 3, nearest to Cartesian `axis`, so that boxes stay boxes."""
    space = np.linalg.svd(vectors)[2][len(vectors) :] if len(vectors) else np.eye(3)
    projection = space.T @ space[:, axis]
    if np.linalg.norm(projection) < 1e-6:
        projection = space[0]
    return projection / np.linalg.norm(projection)


def _reduce_tilt(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Same lattice from lower-triangular `cell`, tilt within half a box length (LAMMPS warns beyond it)."""
    cell = cell.copy()
    for row, column in ((1, 0), (2, 1), (2, 0)):
        if pbc[row] and pbc[column]:
            cell[row] -= np.round(cell[row, column] / cell[column, column]) * cell[column]
    return cell


def place_atoms(atoms: Atoms) -> Placement:
    """Turn `atoms` into LAMMPS's frame. Raises ValueError for a periodic axis without extent."""
    frame = _periodic_frame(atoms)
    q, r = np.linalg.qr(frame.T)
    signs = np.where(np.diag(r) < 0.0, -1.0, 1.0)
    rotation = q * signs
    cell = np.tril((r * signs[:, None]).T)
    cell = _reduce_tilt(cell, atoms.pbc)
    positions = atoms.positions @ rotation
    low = np.zeros(3)
    for axis in np.flatnonzero(~atoms.pbc):
        bottom, top = (positions[:, axis].min(), positions[:, axis].max()) if len(atoms) else (0.0, 0.0)
        low[axis] = bottom - MARGIN
        cell[axis] = np.eye(3)[axis] * (top - bottom + 2.0 * MARGIN)
    scaled = (positions - low) @ np.linalg.inv(cell)
    scaled[:, atoms.pbc] %= 1.0
    return Placement(cell, low, low + scaled @ cell, rotation)


def write_data(path: str | Path, atoms: Atoms, species: list[str], units: str = "metal") -> np.ndarray:
    """Write a LAMMPS data file (atom_style atomic) in `units`; type n is species[n - 1].

    Velocities are written where any is not zero. Returns the rotation [3, 3] with
    x_lammps = x @ rotation, for `read_uncertain` and `read_dump`. Raises ValueError for an element that is not
    in `species`, other units than metal, real and electron, or a periodic axis without extent.
    """
    if units not in ANGSTROM:
        raise ValueError(f"units {units!r}; allowed: {', '.join(ANGSTROM)}")
    unknown = sorted(set(atoms.get_chemical_symbols()) - set(species))
    if unknown:
        raise ValueError(f"elements {unknown} are not among the species {list(species)}")
    placed = place_atoms(atoms)
    cell, low, positions = (x * ANGSTROM[units] for x in (placed.cell, placed.low, placed.positions))
    high = low + np.diag(cell)
    lines = ["LAMMPS data file written by mollifield", "", f"{len(atoms)} atoms", f"{len(species)} atom types", ""]
    lines += [f"{low[k]:.17g} {high[k]:.17g} {name}lo {name}hi" for k, name in enumerate("xyz")]
    tilt = cell[1, 0], cell[2, 0], cell[2, 1]
    if any(tilt):
        lines.append(f"{tilt[0]:.17g} {tilt[1]:.17g} {tilt[2]:.17g} xy xz yz")
    lines += ["", "Masses", ""]
    lines += [f"{k} {atomic_masses[atomic_numbers[symbol]]:.8f}  # {symbol}" for k, symbol in enumerate(species, 1)]
    lines += ["", "Atoms  # atomic", ""]
    types = [species.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    atoms_of_types = enumerate(zip(types, positions, strict=True), 1)
    lines += [f"{n} {t} {x:.17g} {y:.17g} {z:.17g}" for n, (t, (x, y, z)) in atoms_of_types]
    velocities = _velocities(atoms, units) @ placed.rotation
    if velocities.any():
        lines += ["", "Velocities", ""]
        lines += [f"{n} {x:.17g} {y:.17g} {z:.17g}" for n, (x, y, z) in enumerate(velocities, 1)]
    Path(path).write_text("\n".join(lines) + "\n")
    return placed.rotation


def _velocities(atoms: Atoms, units: str) -> np.ndarray:
    """[N, 3] in LAMMPS's unit from ASE's."""
    return atoms.get_velocities() * fs * 1e3 * ANGSTROM[units] / PICOSECOND[units]


def read_uncertain(path: str | Path, rotation: ArrayLike | None = None) -> list[Atoms]:
    """Frames that fix mollifield/uncertainty wrote, sorted by tag, in the frame before `write_data`.

    `rotation` is what `write_data` returned (default: none). Arrays: tag, forces_mean [N, 3] and
    force_std [N] in eV/Å, force_covariance_trace [N] in eV²/Å² (its square root is the std),
    latent_distance [N], aleatoric_std [N] in eV/Å. Info: step; energy_mean and energy_std in eV; max_force_std and
    force_noise_std in eV/Å (RMS over the group), energy_noise_std in eV/atom; n_outside and energy_outside: how many
    atoms of the group resemble no training atom, and whether the energy is outside; quantity, reduce and value: what
    the fix looked at and found (eV and Å); trigger and trigger_value: tag and value of the worst atom.
    """
    if not Path(path).exists() or Path(path).stat().st_size == 0:
        return []
    frames = list(ase.io.iread(path, index=":", format="extxyz"))
    for frame in frames:
        # Where `mollifield` was imported, ASE takes energy_std and aleatoric_std for a calculator's results.
        for name, value in ({} if frame.calc is None else frame.calc.results).items():
            (frame.arrays if np.ndim(value) else frame.info)[name] = value
        frame.calc = None
    if rotation is not None:
        back = np.asarray(rotation).T
        for frame in frames:
            frame.set_cell(np.array(frame.cell) @ back)
            frame.positions = frame.positions @ back
            frame.arrays["forces_mean"] = frame.arrays["forces_mean"] @ back
    return frames
