"""Dynamics of an oracle: what frames are taken from it."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin

from mollifield_train.oracle.dynamics import langevin, sampled, thermalised


@pytest.mark.parametrize("start", [molecule("H2O"), bulk("Cu", cubic=True)], ids=["molecule", "crystal"])
def test_frames_are_those_of_the_trajectory_with_their_labels(start: Atoms) -> None:
    """Every third step, apart from what goes on moving; stress where there is one."""

    def begun() -> tuple[Atoms, Langevin]:
        rng = np.random.default_rng(0)
        atoms = thermalised(start, 300.0, rng)
        atoms.calc = EMT()
        return atoms, langevin(atoms, 300.0, 0.5, 100.0, rng)

    _, dynamics = begun()
    frames = sampled(dynamics, 2, 3)
    atoms, dynamics = begun()
    for frame in frames:
        dynamics.run(3)
        assert np.array_equal(frame.positions, atoms.positions)
        assert np.array_equal(frame.cell, atoms.cell) and np.array_equal(frame.pbc, atoms.pbc)
        assert frame.get_potential_energy() == atoms.get_potential_energy()
        assert np.array_equal(frame.get_forces(), atoms.get_forces())
        assert ("stress" in frame.calc.results) == atoms.pbc.all()
    assert len(frames) == 2 and not np.array_equal(frames[0].positions, frames[1].positions)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["H2O", "CO2", "CO"])
def test_molecules_start_without_turning(name: str) -> None:
    """Those whose atoms lie on a line too, which have no inertia about it; ASE's division by it says nothing."""
    atoms = thermalised(molecule(name), 300.0, np.random.default_rng(0))
    momenta = atoms.get_momenta()
    assert np.isfinite(momenta).all() and abs(momenta).max() > 0.1
    assert abs(momenta.sum(axis=0)).max() < 1e-9 and abs(atoms.get_angular_momentum()).max() < 1e-9
