"""Units: the model speaks eV and Å; LAMMPS may speak others."""

from ase.units import kcal, mol

LAMMPS_ENERGY_UNIT = {"metal": 1.0, "real": kcal / mol}
"""eV in one energy unit of a LAMMPS unit style. Both styles measure lengths in Å."""

EV_PER_CUBIC_ANGSTROM_IN_GPA = 160.21766208
"""1 eV/Å³ in GPa (CODATA 2014, as in ase.units)."""
