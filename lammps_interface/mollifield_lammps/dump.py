"""Trajectories that `dump custom` wrote, back in the frame and the units of the structure they began with."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import fs
from numpy.typing import ArrayLike

from .data import ANGSTROM, ENERGY_UNIT, PICOSECOND

COLUMNS = "id element x y z vx vy vz fx fy fz"
"""Columns that `read_dump` understands; id, element, x, y and z must be there. Others become arrays as they are."""


def read_dump(
    path: str | Path, rotation: ArrayLike | None = None, like: Atoms | None = None, units: str = "metal"
) -> list[Atoms]:
    """Frames of a text dump (`dump custom` with `COLUMNS`, in any order), atoms sorted by id.

    `rotation`: what `write_data` returned; positions, cell, velocities and forces are turned back. `like`: the
    structure that was given to `write_data`; the lattice vectors are then chosen as it has them (LAMMPS may have
    been given another choice for the same lattice), and vectors that are not periodic are its own. Values are in
    eV, Å and ASE's unit of velocity; forces lie in a calculator, `step` in `info`.

    Raises ValueError for a file that is not such a dump, naming the frame and what is missing.
    """
    if units not in ANGSTROM:
        raise ValueError(f"units {units!r}; allowed: {', '.join(ANGSTROM)}")
    frames = []
    for step, box, table in _snapshots(Path(path)):
        missing = sorted({"id", "element", "x", "y", "z"} - table.keys())
        if missing:
            raise ValueError(f"{path}: step {step}: no columns {missing}; found: {', '.join(table)}")
        frames.append(_as_atoms(step, box, table, units, np.eye(3) if rotation is None else np.asarray(rotation).T))
        if like is not None:
            _restore_lattice(frames[-1], like)
    return frames


def _snapshots(path: Path) -> Iterator[tuple[int, tuple[np.ndarray, list[bool]], dict[str, np.ndarray]]]:
    """(step, (cell, pbc), columns sorted by id) of each complete snapshot."""
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()  # a run that was ended may have left half a line, or half a frame
    start = 0
    while start < len(lines):
        if lines[start].split() != ["ITEM:", "TIMESTEP"]:
            raise ValueError(f"{path}, line {start + 1}: not a snapshot of `dump custom`")
        if len(lines) < start + 9:
            return
        n_atoms = int(lines[start + 3])
        rows = lines[start + 9 : start + 9 + n_atoms]
        if len(rows) < n_atoms:
            return
        names = lines[start + 8].split()[2:]
        columns = dict(zip(names, zip(*(row.split() for row in rows), strict=True), strict=True))
        order = np.argsort(np.array(columns.get("id", range(n_atoms)), dtype=int))
        table = {name: np.array(column)[order] for name, column in columns.items()}
        bounds = np.array([line.split() for line in lines[start + 5 : start + 8]], dtype=float)
        yield int(lines[start + 1]), (_cell(bounds), [flag == "pp" for flag in lines[start + 4].split()[-3:]]), table
        start += 9 + n_atoms


def _cell(bounds: np.ndarray) -> np.ndarray:
    """[3, 3] from the bounding box (and tilt factors) of a dump."""
    if bounds.shape[1] == 2:
        return np.diag(bounds[:, 1] - bounds[:, 0])
    xy, xz, yz = bounds[:, 2]
    low = bounds[:, 0] - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = bounds[:, 1] - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    return np.array([[high[0] - low[0], 0, 0], [xy, high[1] - low[1], 0], [xz, yz, high[2] - low[2]]])


def _as_atoms(
    step: int, box: tuple[np.ndarray, list[bool]], table: dict[str, np.ndarray], units: str, back: np.ndarray
) -> Atoms:
    """In ASE's units, every vector times `back` [3, 3]."""
    length = 1.0 / ANGSTROM[units]

    def vectors(names: str) -> np.ndarray:
        return np.stack([table[name].astype(float) for name in names.split()], axis=1) @ back

    cell = box[0] * length @ back
    atoms = Atoms(list(table["element"]), vectors("x y z") * length, cell=cell, pbc=box[1], info={"step": step})
    if {"vx", "vy", "vz"} <= table.keys():
        atoms.set_velocities(vectors("vx vy vz") * length * PICOSECOND[units] / (1e3 * fs))
    for name in table.keys() - set(COLUMNS.split()):
        atoms.set_array(name, table[name].astype(float))
    if {"fx", "fy", "fz"} <= table.keys():
        forces = vectors("fx fy fz") / (length * ENERGY_UNIT[units])
        atoms.calc = SinglePointCalculator(atoms, forces=forces)
    return atoms


def _restore_lattice(atoms: Atoms, like: Atoms) -> None:
    """Lattice vectors as `like` has them, strained as those of `atoms` are."""
    periodic = np.flatnonzero(like.pbc)
    cell = like.cell.array.copy()
    if len(periodic):
        own = atoms.cell.array[periodic]
        choice = np.round(cell[periodic] @ np.linalg.pinv(own))
        cell[periodic] = choice @ own
    calculator = atoms.calc
    atoms.set_cell(cell)
    if calculator is not None:  # its results are those of a lattice, not of the vectors that span it
        calculator.atoms.set_cell(cell)
