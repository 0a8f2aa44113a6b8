"""The ASE Calculator's own promises: properties, uncertainties, errors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.md.verlet import VelocityVerlet
from ase.units import fs
from scipy.spatial.transform import Rotation

from mollifield import MollifieldCalculator, contract, load_artefact
from mollifield.artefact import verify_reference
from mollifield.potential import evaluate
from mollifield_train.export import export

from ..conftest import build_potential, ethanol, exported_engine, sheared_crystal, slab


def test_spread_is_the_sample_spread(model_file: Path) -> None:
    frame = sheared_crystal()
    members = exported_engine(model_file)(frame)
    calc = MollifieldCalculator(model_file)
    assert calc.get_property("energy_std", frame) == pytest.approx(np.std(members.energies, ddof=1))
    deviation = members.forces - members.forces.mean(0)
    trace = (deviation**2).sum(axis=(0, 2)) / 2
    np.testing.assert_allclose(calc.get_property("forces_std", frame), np.sqrt(trace), rtol=1e-12)
    np.testing.assert_allclose(
        calc.get_property("forces_cov", frame)[5], np.cov(members.forces[:, 5].T), rtol=1e-9
    )


def test_covariance_turns_with_the_frame(model_file: Path) -> None:
    rotation = Rotation.from_rotvec([1.0, 0.2, -0.4]).as_matrix()
    frame = ethanol()
    turned = Atoms(frame.numbers, positions=frame.positions @ rotation.T)
    calc = MollifieldCalculator(model_file)
    before, after = (calc.get_property("forces_cov", a) for a in (frame, turned))
    np.testing.assert_allclose(after, rotation @ before @ rotation.T, atol=1e-9)
    assert np.abs(after - before).max() > 1e-3


def test_spread_is_computed_only_when_asked_for(model_file: Path) -> None:
    calc = MollifieldCalculator(model_file)
    frame = ethanol()
    frame.calc = calc
    frame.get_forces()
    assert "forces_std" not in calc.results
    assert calc.get_property("free_energy", frame) == calc.get_property("energy", frame)
    always = MollifieldCalculator(model_file, always_std=True)
    always.get_property("energy", frame)
    assert {"energy_std", "forces_std", "forces_cov"} <= set(always.results)


def test_calibration_scales_the_spread(tmp_path: Path) -> None:
    potential = build_potential(torch.float64)
    factors = {"force_std_factor": 2.0, "energy_std_factor": 3.0}
    export(potential, tmp_path / "raw.pt", [ethanol()])
    export(potential, tmp_path / "calibrated.pt", [ethanol()], calibration=factors)
    raw, calibrated = (MollifieldCalculator(tmp_path / f"{n}.pt") for n in ("raw", "calibrated"))
    frame = ethanol()
    for name, factor in (("energy_std", 3.0), ("forces_std", 2.0), ("forces_cov", 4.0)):
        np.testing.assert_allclose(
            calibrated.get_property(name, frame), factor * raw.get_property(name, frame), rtol=1e-12
        )


def test_calibration_tables_go_by_species(tmp_path: Path) -> None:
    """Piecewise linear through the origin and the knots, proportional beyond the last one."""
    potential, frame = build_potential(torch.float64), ethanol()
    export(potential, tmp_path / "raw.pt", [frame])
    raw = MollifieldCalculator(tmp_path / "raw.pt")
    std = raw.get_property("forces_std", frame)
    middle = float(np.median(std))
    steep, factor = [[middle, 3.0 * middle], [2.0 * middle, 3.5 * middle]], [[1.0, 0.5], [2.0, 1.0]]
    tables = {
        contract.FORCE_STD: torch.tensor([steep, factor, steep], dtype=torch.float64),  # H C O
        contract.ENERGY_STD: torch.tensor([[[1e-9, 2e-9]]], dtype=torch.float64),
    }
    export(potential, tmp_path / "tables.pt", [frame], calibration=tables)
    found = MollifieldCalculator(tmp_path / "tables.pt")
    above = np.interp(std, [middle, 2.0 * middle], [3.0 * middle, 3.5 * middle])
    expected = np.where(std < middle, 3.0 * std, np.where(std > 2.0 * middle, 1.75 * std, above))
    expected[frame.numbers == 6] = 0.5 * std[frame.numbers == 6]
    np.testing.assert_allclose(found.get_property("forces_std", frame), expected, rtol=1e-12)
    factors = (expected / std)[:, None, None] ** 2
    np.testing.assert_allclose(
        found.get_property("forces_cov", frame), factors * raw.get_property("forces_cov", frame), rtol=1e-10, atol=1e-12
    )
    assert found.get_property("energy_std", frame) == pytest.approx(2.0 * raw.get_property("energy_std", frame))


@pytest.mark.parametrize(
    "tables, problem",
    [
        ({"force_std": torch.ones(2, 1, 2)}, r"'force_std' has shape \[2, 1, 2\], expected \[3, K, 2\]"),
        ({"energy_std": torch.tensor([[[1.0, 2.0], [0.5, 3.0]]])}, "'energy_std': its knots are not positive and rising"),
        ({"force_noise_std": torch.ones(1)}, r"'force_noise_std' has shape \[1\], expected \[3\]"),
    ],
)
def test_calibration_that_is_none_is_refused(tables: dict[str, torch.Tensor], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=problem):
        export(build_potential(torch.float64), tmp_path / "model.pt", [ethanol()], calibration=tables)


def test_a_member_is_a_model_of_its_own(model_file: Path) -> None:
    artefact, frame = load_artefact(model_file), sheared_crystal()
    whole = evaluate(artefact, frame.get_chemical_symbols(), frame.positions, frame.cell.array, frame.pbc, True)
    for k in range(3):
        single = artefact.member(k)
        assert single.n_members == 1
        verify_reference(single)
        one = evaluate(single, frame.get_chemical_symbols(), frame.positions, frame.cell.array, frame.pbc)
        torch.testing.assert_close(one.energies[0], whole.energies[k], rtol=0, atol=1e-9)
        torch.testing.assert_close(one.forces[0], whole.forces[k], rtol=0, atol=1e-9)
    assert evaluate(artefact, ["H"], frame.positions[:1], frame.cell.array, frame.pbc).energies.shape == (3,)
    with pytest.raises(ValueError, match="no member 3; allowed: 0 to 2"):
        artefact.member(3)


def test_one_member_has_no_spread(tmp_path: Path) -> None:
    export(build_potential(torch.float32, n_members=1), tmp_path / "model.pt", [ethanol()])
    calc = MollifieldCalculator(tmp_path / "model.pt")
    assert np.isfinite(calc.get_property("energy", ethanol()))
    with pytest.raises(ValueError, match="committee of at least 2 members; this model has 1"):
        calc.get_property("forces_std", ethanol())


def test_stress_needs_three_periodic_directions(model_file: Path) -> None:
    with pytest.raises(ValueError, match=r"pbc = \[True, True, False\]"):
        MollifieldCalculator(model_file).get_property("stress", slab())


def test_atoms_on_top_of_each_other_are_named(model_file: Path) -> None:
    atoms = ethanol()
    atoms.positions[7] = atoms.positions[2]
    with pytest.raises(ValueError, match="atoms 2 and 7 are 0 Å apart"):
        MollifieldCalculator(model_file).get_property("energy", atoms)


def test_positions_that_are_not_finite_are_named(model_file: Path) -> None:
    atoms = ethanol()
    atoms.positions[3, 1] = np.nan
    with pytest.raises(ValueError, match="atom 3: position .* is not finite"):
        MollifieldCalculator(model_file).get_property("energy", atoms)


def test_nve_conserves_energy(tmp_path: Path) -> None:
    """0.1 ps at 0.5 fs and 300 K kinetic: drift below 1e-4 eV/atom/ps (float64).

    Weights are random, so the surface is kept as soft as a trained one (forces of 1 eV/Å) and the
    atoms start in a crystal: a molecule without a trained bond collapses.
    """
    potential = build_potential(torch.float64, n_members=1)
    potential.readout.weight_2.data.mul_(0.02)
    export(potential, tmp_path / "model.pt", [ethanol()])
    atoms = sheared_crystal()
    atoms.calc = MollifieldCalculator(tmp_path / "model.pt")
    assert 0.1 < np.abs(atoms.get_forces()).max() < 5.0
    momenta = np.random.default_rng(3).normal(size=(len(atoms), 3))
    atoms.set_momenta(momenta * np.sqrt(atoms.get_masses() * 0.0258)[:, None])
    dynamics = VelocityVerlet(atoms, timestep=0.5 * fs)
    times, energies, potential_energies = [], [], []
    for step in range(200):
        dynamics.run(1)
        times.append(step * 5e-4)
        energies.append(atoms.get_total_energy() / len(atoms))
        potential_energies.append(atoms.get_potential_energy() / len(atoms))
    drift = np.polyfit(times, energies, 1)[0]
    assert np.ptp(potential_energies) > 1e-2  # the atoms do move
    assert abs(drift) < 1e-4
