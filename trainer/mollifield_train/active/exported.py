"""An exported model file as the loop's committee."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress

from mollifield import contract, load_artefact, uncertainty
from mollifield.potential import evaluate
from mollifield_train.active.committee import Prediction


class ExportedCommittee:
    """See ``mollifield_train.active.committee.Committee``; one model file, calibration applied."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._artefact = load_artefact(path, device)
        uncertainty.require_committee(self._artefact.n_members)
        self.species = [atomic_numbers[symbol] for symbol in self._artefact.species]

    def predict(self, atoms: Atoms) -> Prediction:
        """Mean and spread of the members on one frame."""
        out = evaluate(
            self._artefact,
            atoms.get_chemical_symbols(),
            atoms.positions,
            atoms.cell.array,
            atoms.pbc,
            members=True,
        )
        factors = self._artefact.calibration
        energies, forces = out.energies.cpu().numpy(), out.forces.cpu().numpy()
        spread = uncertainty.forces_std(uncertainty.forces_covariance(forces))
        stress = None
        if atoms.pbc.all():
            virial = out.virial.cpu().numpy().mean(axis=0)
            stress = full_3x3_to_voigt_6_stress(-virial / atoms.get_volume())
        return Prediction(
            energy=float(energies.mean()),
            energy_std=float(uncertainty.energy_std(energies))
            * factors.get(contract.ENERGY_STD_FACTOR, 1.0),
            forces=forces.mean(axis=0),
            forces_std=spread * factors.get(contract.FORCE_STD_FACTOR, 1.0),
            latent=np.asarray(out.latent.cpu().numpy(), dtype=np.float64),
            stress=stress,
        )
