"""Units that labels may come in, and what positive means; all is eV and Å from there on."""

from typing import Literal, get_args

from ase import units

EnergyUnit = Literal["eV", "meV", "Hartree", "Ry", "kcal/mol", "kJ/mol"]
ForcesUnit = Literal["eV/Å", "meV/Å", "Hartree/Bohr", "Ry/Bohr", "kcal/mol/Å"]
StressUnit = Literal["eV/Å^3", "GPa", "kbar", "bar", "Hartree/Bohr^3", "Ry/Bohr^3"]
Sign = Literal["tension", "compression"]
"""Under which of the two a diagonal element is positive; ASE's stress under tension, virials under compression."""

ENERGY: dict[EnergyUnit, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": units.Hartree,
    "Ry": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
"""In eV."""
FORCES: dict[ForcesUnit, float] = {
    "eV/Å": 1.0,
    "meV/Å": 1e-3,
    "Hartree/Bohr": units.Hartree / units.Bohr,
    "Ry/Bohr": units.Rydberg / units.Bohr,
    "kcal/mol/Å": units.kcal / units.mol,
}
"""In eV/Å."""
STRESS: dict[StressUnit, float] = {
    "eV/Å^3": 1.0,
    "GPa": units.GPa,
    "kbar": 0.1 * units.GPa,
    "bar": 1e-4 * units.GPa,
    "Hartree/Bohr^3": units.Hartree / units.Bohr**3,
    "Ry/Bohr^3": units.Rydberg / units.Bohr**3,
}
"""In eV/Å^3."""
SIGNS: tuple[Sign, ...] = get_args(Sign)
