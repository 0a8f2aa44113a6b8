"""Energies of a vacancy and of surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.build import surface
from ase.calculators.calculator import Calculator

from .error_bars import Report
from .finding import Finding, Quantity, scalar
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
        crystal, *defects = structures
        lowest = relaxed(calculator, only_crystal([crystal], "a defect"), self.fmax / 10.0, "cell")
        per_atom = lowest.get_potential_energy() / len(lowest)
        quantities: dict[str, Quantity] = {}
        visited = [lowest]
        for k, name in enumerate(["vacancy"] * (self.vacancy >= 0) + self._surfaces()):
            unrelaxed = self._vacancy(lowest) if name == "vacancy" else self._slab(lowest, name)
            if defects:  # those that the mean potential relaxed, in the cell of this one
                unrelaxed.set_scaled_positions(defects[k].get_scaled_positions(wrap=False))
            found = relaxed(calculator, unrelaxed, self.fmax)
            visited.append(found)
            excess = found.get_potential_energy() - len(found) * per_atom
            if name == "vacancy":
                quantities["vacancy"] = scalar(excess, "eV")
                continue
            area = 2.0 * float(np.linalg.norm(np.cross(*found.cell.array[:2])))
            quantities[f"surface {name}"] = scalar(excess / area / JOULE_PER_SQUARE_METRE, "J/m²")
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
        layers = 1
        while True:
            slab = surface(lowest, tuple(map(int, index)), layers, vacuum=self.vacuum / 2.0)
            slab.pbc = True  # what ASE makes itself for `periodic` has atoms on top of each other, of silicon's (111)
            if np.ptp(slab.positions[:, 2]) >= self.thickness:
                return slab
            layers += 1

    def draw(self, report: Report, figure: Any) -> None:
        """A bar an energy."""
        axes = figure.subplots()
        names = list(report.estimates)
        found = report.estimates.values()
        intervals = [float(one.interval) for one in found if one.interval is not None]
        labels = [f"{name} ({one.unit})" for name, one in report.estimates.items()]
        bars(axes, labels, [float(one.value) for one in found], intervals or None)
        axes.set(ylabel=f"{100 * report.level:g}% intervals, {len(names)} energies")
