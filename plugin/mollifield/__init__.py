"""Run an exported Mollifield model: in Python, in ASE, and (through `mollifield_lammps`) in LAMMPS."""

from .ase_calculator import MollifieldCalculator
from .native import has_native
from .neighbours import find_edges
from .verification import load_artefact

__version__ = "0.2.0"  # the one place
__all__ = ["MollifieldCalculator", "__version__", "find_edges", "has_native", "load_artefact"]
