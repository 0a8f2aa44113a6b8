"""Energies of a vacancy and of surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.build import make_supercell
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from .error_bars import Report
from .finding import Finding, Quantity, energy
from .options import only_crystal, option, repeats, require_positive
from .pictures import bars
from .property import Property
from .relaxation import relaxed

JOULE_PER_SQUARE_METRE = units.kJ / 1000.0 / units.m**2
"""eV/Å²."""


@dataclass(frozen=True)
class Defects(Property):
    """Of an element: the formation energy of a vacancy (eV), E(n - 1) - (n - 1)/n E(n) with n atoms in the supercell of
    the relaxed crystal, at constant volume. Of any crystal: surface energies (J/m²), (E_slab - n E_crystal)/(2 A),
    of slabs of whole cells; for a slab with two unlike sides that is their mean. Ions are relaxed.

    The crystal's energy is that of the same potential, so what a member has wrong about both is in neither.
    """

    text: ClassVar[str] = "formation energies of a vacancy and of surfaces"

    size: float = option(9.0, "least length of the supercell's vectors, Å")
    vacancy: int = option(0, "index of the atom of the given cell that is taken out; -1: none")
    surfaces: str = option("100,111", "Miller indices in the vectors of the given cell, a digit each; empty: none")
    thickness: float = option(10.0, "least thickness of a slab, Å")
    vacuum: float = option(10.0, "between slabs, Å")
    fmax: float = option(0.01, "largest force left by a relaxation, eV/Å")

    def __post_init__(self) -> None:
        """Raise `ValueError` for settings out of range."""
        require_positive(self, "size", "thickness", "vacuum", "fmax")
        if any(len(index) != 3 or not index.isdigit() or index == "000" for index in self._surfaces()):
            raise ValueError(f"surfaces = {self.surfaces}; allowed are three digits each, such as 100,111")

    def _surfaces(self) -> list[str]:
        return [index for index in self.surfaces.split(",") if index]

    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        """See `Property`. Raises `ValueError` for a vacancy in a compound too."""
        crystal, *given = structures
        lowest = relaxed(calculator, only_crystal([crystal], "a defect"), self.fmax / 10.0, "cell")
        per_atom = lowest.get_potential_energy() / len(lowest)
        if given:  # those that another potential relaxed, in the cell of this one: the same cut, atom by atom
            strain = np.linalg.solve(crystal.cell.array, lowest.cell.array)
            for atoms in given:
                atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        names = ["vacancy"] * (self.vacancy >= 0) + self._surfaces()
        unrelaxed = given or [
            self._vacancy(lowest) if name == "vacancy" else self._slab(lowest, name) for name in names
        ]
        quantities: dict[str, Quantity] = {}
        visited = [lowest, *(relaxed(calculator, atoms, self.fmax) for atoms in unrelaxed)]
        for name, found in zip(names, visited[1:], strict=True):
            excess = found.get_potential_energy() - len(found) * per_atom
            if name == "vacancy":
                quantities["vacancy"] = energy(excess, "eV")
                continue
            area = 2.0 * float(np.linalg.norm(np.cross(*found.cell.array[:2])))
            quantities[f"surface {name}"] = energy(excess / area / JOULE_PER_SQUARE_METRE, "J/m²")
        return Finding(quantities, visited, visited)

    def _vacancy(self, lowest: Atoms) -> Atoms:
        species = set(lowest.get_chemical_symbols())
        if len(species) > 1 or self.vacancy >= len(lowest):
            raise ValueError(
                f"{lowest.get_chemical_formula()}: vacancy = {self.vacancy}; allowed are atoms of an element's cell, 0 "
                f"to {len(lowest) - 1}, or -1 (a compound's would need chemical potentials)"
            )
        supercell = lowest * repeats(lowest, self.size)
        del supercell[self.vacancy]
        return supercell

    def _slab(self, lowest: Atoms, index: str) -> Atoms:
        """Cut where planes are farthest apart, whatever rounding does to atoms on the faces of the cell.

        ASE's `surface` cuts on a face: silicon's (111) then breaks one or three bonds an atom, as it happens.
        """
        normal = np.array([int(digit) for digit in index])
        normal //= np.gcd.reduce(normal)
        first, second, third = _vectors(lowest, normal)
        heights = np.sort((lowest.get_scaled_positions() @ normal) % 1.0)
        gaps = np.diff(heights, append=heights[0] + 1.0)
        cut = heights[gaps.argmax()] + 0.5 * gaps.max()
        crystal = lowest.copy()
        crystal.set_scaled_positions(crystal.get_scaled_positions() - cut * third)
        spacing = 1.0 / np.linalg.norm(normal @ lowest.cell.reciprocal().array)
        n_layers = int(np.ceil(self.thickness / spacing - 1e-6))
        slab = make_supercell(crystal, [first, second, n_layers * third])
        slab.center(vacuum=self.vacuum / 2.0, axis=2)
        return slab

    def draw(self, report: Report, figure: Any) -> None:
        """A bar an energy."""
        axes = figure.subplots()
        names = list(report.estimates)
        found = report.estimates.values()
        intervals = [float(one.interval) for one in found if one.interval is not None]
        labels = [f"{name} ({one.unit})" for name, one in report.estimates.items()]
        bars(axes, labels, [float(one.value) for one in found], intervals or None)
        axes.set(ylabel=f"{100 * report.level:g}% intervals, {len(names)} energies")


def _vectors(crystal: Atoms, normal: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Whole lattice vectors: two short ones that span the plane of Miller indices `normal`, one to the next plane."""
    reach = range(-int(normal.max()) - 1, int(normal.max()) + 2)
    lattice = np.array(list(product(reach, repeat=3)))
    lattice = lattice[np.argsort(np.linalg.norm(lattice @ crystal.cell.array, axis=1), kind="stable")]
    inside, above = lattice[lattice @ normal == 0], lattice[lattice @ normal == 1]
    first = inside[1]  # the shortest is zero
    second = next(vector for vector in inside if (np.cross(first, vector) == normal).all())
    return first, second, above[0]
