"""Run an exported Mollifield model: in Python, in ASE, and (through `mollifield_lammps`) in LAMMPS."""

from .artefact import load_artefact
from .ase_calculator import MollifieldCalculator
from .native import has_native
from .neighbours import find_edges

__version__ = "0.1.0"
__all__ = ["MollifieldCalculator", "__version__", "find_edges", "has_native", "load_artefact"]
