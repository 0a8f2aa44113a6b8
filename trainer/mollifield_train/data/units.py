"""Units that labels may come in; all is eV and Å from there on."""

from ase import units

from .unit_names import EnergyUnit, ForcesUnit, StressUnit

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
