"""Properties of analytic potentials, and the error bars of committees of them."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from scipy import stats

from mollifield.properties import EquationOfState, Report, Samples

from .pairs import lennard_jones

EPSILONS = (0.9, 1.0, 1.3)
QUICK = EquationOfState(strain=0.02, n_volumes=5)


def committee(*members: Calculator) -> Samples:
    return Samples(lennard_jones(), members)


def fcc() -> Atoms:
    return bulk("Ar", "fcc", a=1.6)


@pytest.fixture(scope="module")
def depths() -> Report:
    """The equation of state by members that differ in the depth of the well."""
    return QUICK.measure(committee(*map(lennard_jones, EPSILONS)), [fcc()])


def test_lennard_jones_crystal(depths: Report) -> None:
    """In closed form, of twelve neighbours; the equation of state is of third order, the energy is not."""
    nearest, energy = 2.0 ** (1.0 / 6.0), -6.0
    volume = nearest**3 / 2.0**0.5
    expected = {
        "a": nearest * 2.0**0.5,
        "volume": volume,
        "energy": energy,
        "B": -8.0 * energy / volume * 160.21766,  # B = n m |E| / 9 V of an (n, m) potential at its minimum
        "B'": 8.0,  # (n + m) / 3 + 2
    }
    for name, value in expected.items():
        assert float(depths.estimates[name].value) == pytest.approx(value, rel=1e-3), name


def test_spread_in_closed_form(depths: Report) -> None:
    """Energies and moduli are proportional to the depth; lengths and B' do not depend on it."""
    relative = np.std(EPSILONS, ddof=1)
    multiple = stats.t.ppf(0.95, 2) * (4.0 / 3.0) ** 0.5
    for name in ("energy", "B"):
        found = depths.estimates[name]
        assert found.std == pytest.approx(relative * abs(found.value), rel=1e-5)
        assert found.interval == pytest.approx(multiple * found.std)
        assert found.members == pytest.approx(found.value * np.array(EPSILONS), rel=1e-5)
        assert not depths.believed(name)
    for name in ("a", "volume", "B'"):
        found = depths.estimates[name]
        assert found.std is not None and found.std < 1e-5 * found.value
        assert depths.believed(name)


def test_members_relax_to_lattices_of_their_own() -> None:
    sigmas = (0.99, 1.0, 1.02)
    found = QUICK.measure(committee(*(lennard_jones(sigma=sigma) for sigma in sigmas)), [fcc()]).estimates["a"]
    assert found.members == pytest.approx(found.value * np.array(sigmas), rel=1e-5)


def test_calibration_scales_error_bars_and_not_members() -> None:
    members = tuple(map(lennard_jones, (0.99, 1.01)))
    uncalibrated = QUICK.measure(Samples(lennard_jones(), members), [fcc()]).estimates
    raw = uncalibrated["B"]
    scaled = Samples(lennard_jones(), members, calibration_factors=lambda visited: {"forces": 3.0, "energy": 5.0})
    estimates = QUICK.measure(scaled, [fcc()]).estimates
    found = estimates["B"]
    assert estimates["energy"].std == pytest.approx(5.0 * uncalibrated["energy"].std)
    assert found.std == pytest.approx(3.0 * raw.std)
    assert found.interval == pytest.approx(3.0 * raw.interval)
    assert found.members == pytest.approx(raw.members)


def test_samples_in_pairs_have_half_the_degrees_of_freedom() -> None:
    pairs = Samples(lennard_jones(), [], in_pairs=True)
    assert pairs.interval_multiple(16, 0.9) == pytest.approx(stats.t.ppf(0.95, 8))
    assert committee().interval_multiple(4, 0.9) == pytest.approx(stats.t.ppf(0.95, 3) * 1.25**0.5)


def test_atoms_outside_of_the_training_data_are_named() -> None:
    def outside(atoms: Atoms) -> np.ndarray:
        return np.where(np.arange(len(atoms)) == 0, atoms.get_volume() > 1.01, 0.0)

    samples = Samples(lennard_jones(), list(map(lennard_jones, (0.999, 1.001))), outside=outside)
    report = QUICK.measure(samples, [fcc()])
    assert len(report.doubts) == 1
    assert "1 of 5 structures" in report.doubts[0] and "atom 0 (Ar) of structure 4" in report.doubts[0]
    assert not report.believed("a") and not report.estimates["a"].doubt


def test_a_member_without_the_property_is_a_doubt() -> None:
    """Repulsion alone has no minimum."""
    members = list(map(lennard_jones, (0.99, 1.01, -1.0)))
    report = QUICK.measure(committee(*members), [fcc()])
    assert report.n_members == 2
    assert "1 of 3 members" in report.doubts[0] and "member 2" in report.doubts[0]
    with pytest.raises(ValueError, match="2 of 3 members have no such property"):
        QUICK.measure(committee(members[0], members[2], members[2]), [fcc()])


def test_a_shifted_mean_is_a_doubt() -> None:
    """The value of the mean potential is far from all that members say."""
    report = QUICK.measure(committee(*map(lennard_jones, (1.1, 1.1001))), [fcc()])
    assert "members' mean" in report.estimates["B"].doubt


def test_without_members_there_is_the_value_alone() -> None:
    report = QUICK.measure(committee(), [fcc()])
    assert report.n_members == 0
    assert report.estimates["B"].interval is None and report.believed("B")


def test_lengths_that_differ_are_lattice_constants() -> None:
    hcp = bulk("Ar", "hcp", a=1.1, c=1.8)
    found = QUICK(lennard_jones(), [hcp]).quantities
    assert {"a", "c"} <= found.keys() and "b" not in found
    ratio = float(found["c"].value / found["a"].value)
    assert ratio == pytest.approx((8.0 / 3.0) ** 0.5, rel=2e-3)


@pytest.mark.parametrize("wrong", [{"strain": 0.0}, {"n_volumes": 4}, {"fmax": -1.0}, {"strain": 0.5}])
def test_settings_out_of_range(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EquationOfState(**wrong)


def test_a_molecule_has_no_equation_of_state() -> None:
    with pytest.raises(ValueError, match="needs a periodic crystal"):
        QUICK(lennard_jones(), [Atoms("Ar2", [[0, 0, 0], [0, 0, 1.1]])])
