"""Lattice constants, bulk modulus and its derivative from energies of a crystal at several volumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState as AseEquationOfState
from ase.eos import birchmurnaghan

from .error_bars import Report
from .finding import Finding, energy, scalar
from .options import only_crystal, option, require_positive
from .pictures import band
from .property import Property
from .relaxation import relaxed

N_PARAMETERS = 4
"""Of the equation: energy, volume, bulk modulus, its derivative."""
CONVENTIONAL = {"CUB": 1, "FCC": 4, "BCC": 2}
"""Primitive cells in the cube of a cubic lattice."""


@dataclass(frozen=True)
class EquationOfState(Property):
    """The third-order Birch–Murnaghan equation (Phys. Rev. 71, 809 (1947)) through energies at `n_volumes` volumes
    about that of the relaxed crystal; ions and the shape of the cell are relaxed at each.

    Found are the lattice constants `a`, `b`, `c` (Å; of a cubic lattice that of its cube, otherwise lengths of the
    given cell's vectors that are not equal), the volume an atom (Å³), the energy an atom (eV), the bulk modulus B (GPa)
    and its derivative by the pressure B'.
    """

    text: ClassVar[str] = "lattice constant, bulk modulus and its derivative"

    strain: float = option(0.06, "largest relative change of the volume")
    n_volumes: int = option(11, "volumes")
    fmax: float = option(0.001, "largest force left by a relaxation, eV/Å")

    def __post_init__(self) -> None:
        """Raise `ValueError` for settings out of range."""
        require_positive(self, "strain", "fmax")
        if self.n_volumes <= N_PARAMETERS or self.strain >= 0.5:
            raise ValueError(
                f"n_volumes = {self.n_volumes}, strain = {self.strain}; allowed are more than {N_PARAMETERS} and less "
                "than 0.5"
            )

    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        """See `Property`."""
        crystal = only_crystal(structures, "an equation of state")
        lowest = relaxed(calculator, crystal, self.fmax, "cell")
        ratios = np.linspace(1.0 - self.strain, 1.0 + self.strain, self.n_volumes)
        visited = [relaxed(calculator, _scaled(lowest, ratio), self.fmax, "shape") for ratio in ratios]
        volumes = np.array([atoms.get_volume() for atoms in visited]) / len(crystal)
        energies = np.array([atoms.get_potential_energy() for atoms in visited]) / len(crystal)
        fit = AseEquationOfState(volumes, energies, eos="birchmurnaghan")
        volume, lowest_energy, modulus = fit.fit(warn=False)
        if not volumes[0] < volume < volumes[-1] or modulus <= 0.0:
            raise ValueError(
                f"{crystal.get_chemical_formula()}: no minimum of the energy between {volumes[0]:.4g} and "
                f"{volumes[-1]:.4g} Å³/atom"
            )
        at_minimum = _scaled(lowest, volume / (lowest.get_volume() / len(crystal)))
        return Finding(
            quantities={
                **{name: scalar(length, "Å") for name, length in _lattice_constants(crystal, at_minimum).items()},
                "volume": scalar(volume, "Å³/atom"),
                "energy": energy(lowest_energy, "eV/atom"),
                "B": scalar(modulus / units.GPa, "GPa"),
                "B'": scalar(fit.eos_parameters[2], ""),
            },
            visited=visited,
            start=[at_minimum],
            curves={"volumes": volumes, "energies": energies, "parameters": np.array(fit.eos_parameters)},
        )

    def draw(self, report: Report, figure: Any) -> None:
        """Energies about the minimum of each potential's own, and the equation through them."""
        axes = figure.subplots()
        curves = report.finding.curves
        grid = np.linspace(curves["volumes"][0], curves["volumes"][-1], 200)
        lowest = curves["parameters"][0]
        members = [
            1e3 * (birchmurnaghan(grid, *one["parameters"]) - one["parameters"][0]) for one in report.member_curves
        ]
        band(axes, grid, 1e3 * (birchmurnaghan(grid, *curves["parameters"]) - lowest), members)
        axes.plot(curves["volumes"], 1e3 * (curves["energies"] - lowest), "o", color="black", markersize=3)
        axes.set(xlabel="volume (Å³/atom)", ylabel="energy above the minimum (meV/atom)")


def _scaled(atoms: Atoms, ratio: float) -> Atoms:
    """A copy with `ratio` times the volume."""
    other = atoms.copy()
    other.set_cell(atoms.cell * ratio ** (1.0 / 3.0), scale_atoms=True)
    return other


def _lattice_constants(given: Atoms, found: Atoms) -> dict[str, float]:
    """By name, in Å. The lattice is that of the `given` cell: a relaxed one is not exactly cubic any more."""
    lattice = given.cell.get_bravais_lattice(eps=1e-3)
    if lattice.name in CONVENTIONAL:
        return {"a": (CONVENTIONAL[lattice.name] * found.get_volume()) ** (1.0 / 3.0)}
    lengths = found.cell.lengths()
    _, first = np.unique(np.round(given.cell.lengths(), 3), return_index=True)
    return {"abc"[k]: float(lengths[k]) for k in sorted(first)}
