"""An exported model file as the loop's committee."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress

from mollifield import load_artefact, uncertainty
from mollifield.potential import evaluate

from .committee import Prediction


class ExportedCommittee:
    """See `mollifield_train.active.committee.Committee`; one model file, calibration applied."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._artefact = load_artefact(path, device)
        uncertainty.require_committee(self._artefact.n_members)
        self.species = [atomic_numbers[symbol] for symbol in self._artefact.species]

    def predict(self, atoms: Atoms) -> Prediction:
        """Mean and spread of the members on one frame."""
        out = evaluate(
            self._artefact, atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc, members=True
        )
        found = uncertainty.spread(self._artefact, out)
        stress = None
        noise = self._artefact.calibration.force_noise
        if atoms.pbc.all():
            virial = out.virial.mean(dim=0).cpu().numpy()
            stress = full_3x3_to_voigt_6_stress(-virial / atoms.get_volume())
        return Prediction(
            energy=float(out.energies.mean()),
            energy_std=found.energy_std,
            forces=out.forces.mean(dim=0).cpu().numpy(),
            forces_std=found.forces_std,
            features=uncertainty.latent_features({}, out.latent).cpu().numpy(),
            stress=stress,
            aleatoric_std=None if noise is None else noise[out.types.cpu().numpy()],
        )
