"""Vacancies, surfaces and barriers where they are known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from scipy import stats

from mollifield.properties import Barrier, Defects, Samples

from .pairs import lennard_jones
from .silicon import stillinger_weber

DEPTHS = (0.95, 1.0, 1.1)
ANGSTROM2 = 16.0217663
"""J/m² in 1 eV/Å²."""


def test_bonds_of_nearest_neighbours_are_counted() -> None:
    """Twelve bonds of depth 1 go with an atom, six come back with its energy; a (100) face breaks four an atom.

    Relaxation gains nothing: neighbours alone, all at their minimum.
    """
    crystal = bulk("Ar", "fcc", a=1.6, cubic=True)
    samples = Samples(lennard_jones(), [lennard_jones(depth) for depth in DEPTHS])
    report = Defects(size=3.0, thickness=3.0, vacuum=4.0).measure(samples, [crystal])
    nearest = 2.0 ** (1.0 / 6.0)
    expected = {
        "vacancy": 6.0,
        "surface 100": 0.5 * 4 / nearest**2 * ANGSTROM2,
        "surface 111": 0.5 * 3 / (nearest**2 * 3**0.5 / 2) * ANGSTROM2,
    }
    assert report.estimates.keys() == expected.keys()
    for name, value in expected.items():
        found = report.estimates[name]
        assert float(found.value) == pytest.approx(value, rel=1e-4), name
        assert found.std == pytest.approx(np.std(DEPTHS, ddof=1) * value, rel=1e-3), name


@pytest.mark.parametrize("cubic", [True, False], ids=["cube", "primitive"])
def test_silicon_is_cut_between_its_double_planes(cubic: bool) -> None:
    """One bond of 2.168 eV an atom of (111), whatever rounding does to atoms on the faces of the cell."""
    pytest.importorskip("matscipy")
    crystal = bulk("Si", a=5.431, cubic=cubic)
    crystal.rattle(1e-7, seed=0)
    found = Defects(surfaces="111", vacancy=-1, fmax=100.0)(stillinger_weber(), [crystal]).quantities
    area = 5.431**2 * 3**0.5 / 4
    assert float(found["surface 111"].value) == pytest.approx(0.5 * 2.1683 / area * ANGSTROM2, rel=1e-3)


def test_members_have_the_same_slabs() -> None:
    """Also where their lattice would need another layer for the thickness that is asked for."""
    sigmas = (0.97, 1.0, 1.03)
    crystal = bulk("Ar", "fcc", a=1.6, cubic=True)
    samples = Samples(lennard_jones(), [lennard_jones(sigma=sigma) for sigma in sigmas])
    found = Defects(size=3.0, thickness=3.2, vacuum=4.0, surfaces="100").measure(samples, [crystal]).estimates
    assert found["surface 100"].members == pytest.approx(found["surface 100"].value / np.square(sigmas), rel=1e-4)


def test_a_vacancy_of_a_compound_is_refused() -> None:
    salt = bulk("ArKr", "rocksalt", a=2.3)
    with pytest.raises(ValueError, match="chemical potentials"):
        Defects(size=2.0)(lennard_jones(), [salt])


@pytest.mark.parametrize("wrong", ["12", "1,1,1", "000", "1-10"])
def test_surfaces_that_are_none(wrong: str) -> None:
    with pytest.raises(ValueError, match="three digits"):
        Defects(surfaces=wrong)


class DoubleWell(Calculator):
    """One atom in h (x² - 1)² + tilt x + 2 (y² + z²): minima at ±1 and a saddle at 0, for a small tilt."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, height: float, tilt: float = 0.0) -> None:
        super().__init__()
        self.height, self.tilt = height, tilt

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        x, y, z = self.atoms.positions[0]
        energy = self.height * (x * x - 1) ** 2 + self.tilt * x + 2 * (y * y + z * z)
        slope = [4 * self.height * x * (x * x - 1) + self.tilt, 4 * y, 4 * z]
        self.results = {"energy": energy, "forces": -np.array([slope])}


HEIGHTS = (0.48, 0.5, 0.53)
ENDS = [Atoms("H", [[x, 0.1, 0.0]]) for x in (-0.9, 0.9)]


def test_barrier_of_a_double_well() -> None:
    samples = Samples(DoubleWell(0.5), [DoubleWell(height) for height in HEIGHTS])
    report = Barrier(n_images=5, fmax=0.003).measure(samples, ENDS)
    for name in ("forward", "reverse"):
        found = report.estimates[name]
        assert float(found.value) == pytest.approx(0.5, abs=1e-4)
        assert found.members == pytest.approx(HEIGHTS, abs=1e-4)
        assert found.interval == pytest.approx(
            np.std(HEIGHTS, ddof=1) * stats.t.ppf(0.95, 2) * (4 / 3) ** 0.5, rel=0.01
        )
        assert report.believed(name)
    assert float(report.estimates["reaction"].value) == pytest.approx(0.0, abs=1e-5)


def test_a_tilt_is_the_energy_of_the_reaction() -> None:
    found = Barrier(n_images=5, fmax=0.003)(DoubleWell(0.5, 0.05), ENDS).quantities
    assert float(found["reaction"].value) == pytest.approx(0.1, abs=2e-3)
    assert float(found["forward"].value - found["reverse"].value) == pytest.approx(float(found["reaction"].value))


def test_ends_of_other_atoms_are_refused() -> None:
    with pytest.raises(ValueError, match="the same atoms in the same order"):
        Barrier()(DoubleWell(0.5), [ENDS[0], Atoms("He")])
    with pytest.raises(ValueError, match="needs its two ends"):
        Barrier()(DoubleWell(0.5), ENDS[:1])


def test_a_band_that_does_not_relax() -> None:
    with pytest.raises(ValueError, match="not relaxed in 1 steps"):
        Barrier(n_steps=1, n_images=4)(DoubleWell(0.5, 0.1), ENDS)
