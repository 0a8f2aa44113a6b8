"""ASE's view of an exported model."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from . import uncertainty
from .artefact import load_artefact
from .potential import evaluate

STD_PROPERTIES = ["energy_std", "forces_std", "forces_cov"]


class MollifieldCalculator(Calculator):
    """Energy, forces, stress and their committee spread, for any periodicity and cell size.

    =================  ==============  ================================================================
    ``energy``         eV              mean over members (``free_energy`` is the same number)
    ``energies``       eV, [N]         mean over members, summing to ``energy``
    ``forces``         eV/Å, [N, 3]    mean over members
    ``stress``         eV/Å³, [6]      mean; Voigt xx yy zz yz xz xy; three periodic directions only
    ``energy_std``     eV              sample standard deviation over members, calibrated, and more where
                                       atoms are outside of the training data (`uncertainty.spread`)
    ``forces_std``     eV/Å, [N]       sqrt of the trace of ``forces_cov``
    ``forces_cov``     eV²/Å², [N,3,3] sample covariance over members, likewise; turns with the frame
    =================  ==============  ================================================================

    The spread costs about M times a mean evaluation, so it is computed only when asked for:
    ``calc.get_property("forces_std", atoms)``, or always with ``always_std=True``; results then lie
    in ``calc.results``.
    """

    implemented_properties = [
        "energy", "free_energy", "energies", "forces", "stress", *STD_PROPERTIES,
    ]

    def __init__(
        self,
        model: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        always_std: bool = False,
    ) -> None:
        """``model``: an exported file. ``threads``: torch's intra-op threads, process-wide."""
        super().__init__()
        if threads is not None:
            if threads < 1:
                raise ValueError(f"threads = {threads}; allowed is 1 or more")
            torch.set_num_threads(threads)
        self.artefact = load_artefact(model, device)
        if always_std:
            uncertainty.require_committee(self.artefact.n_members)
        self.always_std = always_std
        self._warn_of_stress = self.artefact.labels is not None and "stress" not in self.artefact.labels

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """ASE's, with a warning (once) about a stress from a model that was trained on none."""
        if name == "stress" and self._warn_of_stress:
            self._warn_of_stress = False
            warnings.warn(
                f"{self.artefact.path}: no stress was among its training labels ({', '.join(self.artefact.labels)}); "
                "its stress and pressure may be far off",
                UserWarning, stacklevel=3,
            )  # fmt: skip
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``results``; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        wanted = properties or ["energy"]
        with_std = self.always_std or any(name in STD_PROPERTIES for name in wanted)
        if with_std:
            uncertainty.require_committee(self.artefact.n_members)
        out = evaluate(
            self.artefact,
            atoms.get_chemical_symbols(),
            atoms.positions,
            atoms.cell.array,
            atoms.pbc,
            members=with_std,
        )
        forces = out.forces.cpu().numpy()
        energy = float(out.energies.mean())
        results: dict[str, Any] = {
            "energy": energy,
            "free_energy": energy,
            "energies": out.atomic_energies.mean(0).cpu().numpy(),
            "forces": forces.mean(0),
        }
        if not np.isfinite(energy) or not np.isfinite(results["forces"]).all():
            raise ValueError(f"the model gives energy {energy} eV: not finite for this frame")
        if atoms.pbc.all():
            virial = out.virial.mean(0).cpu().numpy()
            results["stress"] = full_3x3_to_voigt_6_stress(-virial / atoms.get_volume())
        elif "stress" in wanted:
            raise ValueError(f"stress needs three periodic directions; pbc = {atoms.pbc.tolist()}")
        if with_std:
            found = uncertainty.spread(self.artefact, out)
            results.update({name: getattr(found, name) for name in STD_PROPERTIES})
        self.results = results
