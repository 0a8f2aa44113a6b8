"""What units and signs of labels are called. Imports nothing, so that a command line is read at once."""

from typing import Literal, get_args

EnergyUnit = Literal["eV", "meV", "Hartree", "Ry", "kcal/mol", "kJ/mol"]
ForcesUnit = Literal["eV/Å", "meV/Å", "Hartree/Bohr", "Ry/Bohr", "kcal/mol/Å"]
StressUnit = Literal["eV/Å^3", "GPa", "kbar", "bar", "Hartree/Bohr^3", "Ry/Bohr^3"]
Sign = Literal["tension", "compression"]
"""Under which of the two a diagonal element is positive; ASE's stress under tension, virials under compression."""
SIGNS: tuple[Sign, ...] = get_args(Sign)
