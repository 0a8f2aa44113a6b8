"""PySCF's density-functional theory of molecules as an ASE calculator; imported only where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.units import Bohr, Hartree
from pyscf import dft, gto, scf

if TYPE_CHECKING:
    from .programs import PyscfConfig


class PyscfCalculator(Calculator):
    """Energy (the free energy is the same) and forces of an isolated molecule, in eV and Å."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(self, config: PyscfConfig) -> None:
        super().__init__()
        self._config = config

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Raises ValueError for periodic frames, CalculationFailed where the field does not converge."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        if self.atoms.pbc.any():
            raise ValueError(f"oracle pyscf is for molecules; pbc = {self.atoms.pbc.tolist()}")
        config = self._config
        where = list(zip(self.atoms.get_chemical_symbols(), self.atoms.positions.tolist(), strict=True))
        molecule = gto.M(
            atom=where, unit="Angstrom", basis=config.basis, charge=config.charge, spin=config.spin, verbose=0
        )
        unpaired = config.spin > 0
        if config.xc.upper() == "HF":
            field = scf.UHF(molecule) if unpaired else scf.RHF(molecule)
        else:
            field = dft.UKS(molecule, xc=config.xc) if unpaired else dft.RKS(molecule, xc=config.xc)
        for name, value in config.arguments.items():
            if not hasattr(field, name):
                raise ValueError(f"oracle pyscf: 'arguments' has {name!r}, which {type(field).__name__} does not know")
            setattr(field, name, value)
        energy = float(field.kernel()) * Hartree
        if not field.converged:
            raise CalculationFailed(f"{config.xc}/{config.basis} did not converge in {field.max_cycle} cycles")
        forces = -np.asarray(field.nuc_grad_method().kernel()) * (Hartree / Bohr)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
