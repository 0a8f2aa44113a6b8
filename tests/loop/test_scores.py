"""The numbers in the tables, by hand."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mollifield_train.active.committee import Prediction
from mollifield_train.active.scores import predict_frames, summarise


class Wrong:
    """EMT with an error of its own in every quantity."""

    def __init__(self, energy: list[float], forces: float, stress: float) -> None:
        self.species = [1, 8, 29]
        self._energy = iter(energy)
        self._forces, self._stress = forces, stress

    def predict(self, atoms: Atoms) -> Prediction:
        atoms = labelled(atoms)
        stress = atoms.get_stress() + self._stress if atoms.pbc.all() else None
        energy = atoms.get_potential_energy() + next(self._energy) * len(atoms)
        std = np.full(len(atoms), 0.2)
        return Prediction(energy, 0.1, atoms.get_forces() + self._forces, std, np.zeros((2, 1, 1)), stress)


def labelled(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.calc = EMT()
    atoms.get_forces()
    if atoms.pbc.all():
        atoms.get_stress()
    return atoms


def test_errors_with_and_without_the_constant() -> None:
    frames = []
    for seed in range(2):
        frames.append(bulk("Cu", cubic=True))
        frames[-1].rattle(0.1, seed=seed)
    committee = Wrong([0.3, 0.5], forces=-0.2, stress=0.01)
    scores = summarise(predict_frames(committee, [labelled(atoms) for atoms in frames]))
    assert scores["energy_offset_per_atom"] == pytest.approx(0.4)
    assert scores["energy_rmse_per_atom"] == pytest.approx(np.sqrt((0.3**2 + 0.5**2) / 2))
    assert scores["energy_rmse_per_atom_shifted"] == pytest.approx(0.1)
    assert scores["force_rmse"] == pytest.approx(0.2)
    assert scores["stress_rmse"] == pytest.approx(0.01)
    assert scores["pressure_error"] == pytest.approx(-0.01)  # a crystal under more tension has less pressure
    assert scores["mean_force_std"] == scores["max_force_std"] == pytest.approx(0.2)


def test_no_stress_without_a_label_or_a_period() -> None:
    scores = summarise(predict_frames(Wrong([0.0], 0.0, 0.0), [labelled(molecule("H2O"))]))
    assert "stress_rmse" not in scores and "pressure_error" not in scores
