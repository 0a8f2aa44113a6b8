"""Phonons of springs between nearest neighbours, in closed form."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from scipy import stats

from mollifield.properties import Phonons, Report, Samples

from .pairs import springs

pytest.importorskip("phonopy")

LENGTH, STIFFNESS, MASS = 2.6, 3.0, 40.0
"""Å, eV/Å², u."""
STIFFNESSES = (2.9, 3.0, 3.2)
TERAHERTZ = 1e-12 * units.s
"""Of one cycle a unit of ASE's time."""


@pytest.fixture(scope="module")
def report() -> Report:
    crystal = bulk("Ar", "fcc", a=LENGTH * 2**0.5)
    crystal.set_masses([MASS])
    samples = Samples(springs(STIFFNESS, LENGTH), [springs(k, LENGTH) for k in STIFFNESSES])
    return Phonons(size=5.0, n_points=20, mesh=30.0, temperatures=(10000.0,)).measure(samples, [crystal])


def frequency(stiffness: float, multiple: float) -> float:
    return float(np.sqrt(multiple * stiffness / MASS) / (2.0 * np.pi) * TERAHERTZ)


def test_highest_frequency(report: Report) -> None:
    """At X, longitudinal: M omega^2 = 8 k; the transverse ones there have 4 k."""
    assert float(report.estimates["highest frequency"].value) == pytest.approx(frequency(STIFFNESS, 8.0), rel=1e-3)
    assert report.estimates["bands"].value.shape == (20, 3)
    at_x = np.abs(report.estimates["bands"].value[:, 2] - frequency(STIFFNESS, 8.0)).argmin()
    assert report.estimates["bands"].value[at_x, :2] == pytest.approx(frequency(STIFFNESS, 4.0), rel=0.02)


def test_a_cube_has_the_bands_of_its_primitive_cell(report: Report) -> None:
    crystal = bulk("Ar", "fcc", a=LENGTH * 2**0.5, cubic=True)
    crystal.set_masses([MASS] * 4)
    found = Phonons(size=5.0, n_points=20, mesh=30.0)(springs(STIFFNESS, LENGTH), [crystal]).quantities
    assert found["bands"].value == pytest.approx(report.estimates["bands"].value, abs=0.01)
    assert float(found["Cv 1000 K"].value) == pytest.approx(3.0 * 8.314, rel=0.02)


def test_spread_goes_with_the_root_of_the_stiffness(report: Report) -> None:
    found = report.estimates["highest frequency"]
    assert found.std == pytest.approx(np.std([frequency(k, 8.0) for k in STIFFNESSES], ddof=1), rel=1e-3)
    assert found.interval == pytest.approx(found.std * stats.t.ppf(0.95, 2) * (4 / 3) ** 0.5)


def test_heat_capacity_when_hot(report: Report) -> None:
    """Dulong and Petit's, whatever the springs; acoustic modes are at rest at the zone's centre."""
    found = report.estimates["Cv 10000 K"]
    assert float(found.value) == pytest.approx(3.0 * 8.314, rel=1e-3)
    assert report.believed("Cv 10000 K")
    assert abs(float(report.estimates["lowest frequency"].value)) < 0.01


def test_density_of_states_counts_three_modes_an_atom(report: Report) -> None:
    curves = report.finding.curves
    assert np.trapezoid(curves["dos"], curves["dos_frequencies"]) == pytest.approx(3.0, rel=0.03)
