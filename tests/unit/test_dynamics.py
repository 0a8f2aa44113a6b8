"""Averages over a trajectory, reweighted to members."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk

from mollifield.properties import Dynamics, Report, Samples
from mollifield.properties.reweighting import averaged

from .pairs import lennard_jones

TEMPERATURE = 300.0
KT = units.kB * TEMPERATURE


def test_a_stiffer_spring_in_closed_form() -> None:
    """<x²> = kT/k, so that a stiffness of k (1 + d) has 1 - d of it to first order; a constant changes nothing."""
    stiffness, changes = 2.0, np.array([-0.1, 0.0, 0.2])
    x = np.random.default_rng(0).normal(0.0, np.sqrt(KT / stiffness), 200_000)
    deviations = 0.5 * stiffness * changes * x[:, None] ** 2 + np.array([3.0, -1.0, 7.0])
    found = averaged(x**2, None, deviations, TEMPERATURE, 10)
    assert found.members / found.value == pytest.approx(1.0 - changes, abs=5e-3)
    assert found.statistical == pytest.approx(2**0.5 * KT / stiffness / len(x) ** 0.5, rel=0.5)


def test_an_observable_of_each_member() -> None:
    """Its own energy: kT/2 whatever the stiffness."""
    x = np.random.default_rng(1).normal(0.0, np.sqrt(KT), 200_000)
    energies = 0.5 * x[:, None] ** 2 * np.array([1.0, 1.05])
    found = averaged(0.5 * x**2, energies, energies - 0.5 * x[:, None] ** 2, TEMPERATURE, 10)
    assert found.members == pytest.approx(0.5 * KT, rel=0.01)


DEPTHS = (0.99, 1.0, 1.02)


@pytest.fixture(scope="module")
def report() -> Report:
    """A crystal of bonds of 1 eV, in which atoms are nearly harmonic."""
    crystal = bulk("Ar", "fcc", a=2.0 ** (2.0 / 3.0), cubic=True) * (2, 2, 2)
    samples = Samples(lennard_jones(), [lennard_jones(depth) for depth in DEPTHS])
    calculation = Dynamics(n_steps=960, n_equilibration=200, every=5, timestep=2.0, r_max=1.5, n_bins=30, n_blocks=4)
    return calculation.measure(samples, [crystal], tolerance=10.0)


def test_energy_of_a_crystal(report: Report) -> None:
    """3/2 kT above the minimum, less what the resting centre of mass does not have; the depth for members' std."""
    found = report.estimates["energy"]
    assert float(found.value) == pytest.approx(-6.0 + 1.5 * KT * 31 / 32, abs=0.15 * KT)
    spread = np.std(found.members, ddof=1)
    assert spread == pytest.approx(6.0 * np.std(DEPTHS, ddof=1), rel=0.02)
    assert found.std is not None and found.std >= spread


def test_radial_distribution(report: Report) -> None:
    """Twelve neighbours at the nearest distance."""
    places, rdf = report.finding.curves["distances"], report.estimates["rdf"].value
    density = 2**0.5 / 2.0**0.5  # of fcc, nearest neighbours at 2^(1/6)
    within = places < 1.35
    neighbours = density * np.sum(4 * np.pi * places[within] ** 2 * rdf[within]) * (places[1] - places[0])
    assert neighbours == pytest.approx(12.0, rel=0.02)
    assert places[rdf.argmax()] == pytest.approx(2.0 ** (1.0 / 6.0), abs=0.05)
    assert report.estimates["peak height"].members.shape == (3,)


def test_diffusion_has_the_error_of_statistics_alone(report: Report) -> None:
    found = report.estimates["diffusion"]
    assert found.members.shape == (0,)
    assert found.std is not None and found.std > 0.0
    assert abs(found.value) < 0.1
    assert "leave its site" in found.doubt


def test_members_that_differ_by_more_than_kt_are_a_doubt() -> None:
    crystal = bulk("Ar", "fcc", a=2.0 ** (2.0 / 3.0), cubic=True) * (2, 2, 2)
    samples = Samples(lennard_jones(), [lennard_jones(depth) for depth in (0.5, 1.5)])
    quick = Dynamics(n_steps=80, n_equilibration=50, every=5, timestep=2.0, r_max=1.5, n_blocks=2)
    assert "kT" in quick.measure(samples, [crystal]).doubts[0]


def test_too_few_frames() -> None:
    with pytest.raises(ValueError, match="n_blocks = 8, n_steps = 100"):
        Dynamics(n_steps=100)
