"""The ASE Calculator's own promises: properties, uncertainties, errors."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter, StrainFilter, UnitCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import fs
from scipy.spatial.transform import Rotation

from mollifield import MollifieldCalculator, contract
from mollifield.potential import evaluate
from mollifield.verification import verify_reference
from mollifield_train.export import export
from mollifield_train.testing import Engine

from ..conftest import build_potential, ethanol, sheared_crystal, slab


def with_std(calculator: MollifieldCalculator) -> MollifieldCalculator:
    calculator.always_std = True
    return calculator


def test_spread_is_the_sample_spread(calc: MollifieldCalculator, exported: Engine) -> None:
    frame = sheared_crystal()
    members = exported(frame)
    assert calc.get_property("energy_std", frame) == pytest.approx(np.std(members.energies, ddof=1))
    deviation = members.forces - members.forces.mean(0)
    trace = (deviation**2).sum(axis=(0, 2)) / 2
    np.testing.assert_allclose(calc.get_property("forces_std", frame), np.sqrt(trace), rtol=1e-12)
    np.testing.assert_allclose(calc.get_property("forces_cov", frame)[5], np.cov(members.forces[:, 5].T), rtol=1e-9)


def test_covariance_turns_with_the_frame(calc: MollifieldCalculator) -> None:
    rotation = Rotation.from_rotvec([1.0, 0.2, -0.4]).as_matrix()
    frame = ethanol()
    turned = Atoms(frame.numbers, positions=frame.positions @ rotation.T)
    before, after = (calc.get_property("forces_cov", a) for a in (frame, turned))
    np.testing.assert_allclose(after, rotation @ before @ rotation.T, atol=1e-9)
    assert np.abs(after - before).max() > 1e-3


def test_spread_is_computed_only_when_asked_for(calc: MollifieldCalculator, model_file: Path) -> None:
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


def test_intervals_and_noise_are_as_the_file_states(tmp_path: Path) -> None:
    potential, frame = build_potential(torch.float64), ethanol()
    species = [potential.species.index(symbol) for symbol in frame.symbols]
    multiples, noise = np.array([1.5, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])
    tables = {
        contract.FORCE_INTERVAL: torch.tensor([[[0.5, 1.0], [0.9, m]] for m in multiples], dtype=torch.float64),
        contract.ENERGY_INTERVAL: torch.tensor([[[0.5, 0.7], [0.9, 1.7]]], dtype=torch.float64),
        contract.FORCE_NOISE_STD: torch.tensor(noise, dtype=torch.float64),
    }
    export(potential, tmp_path / "stated.pt", [frame], calibration=tables)
    found, half = MollifieldCalculator(tmp_path / "stated.pt"), MollifieldCalculator(tmp_path / "stated.pt", level=0.5)
    stds, energy_std = found.get_property("forces_std", frame), found.get_property("energy_std", frame)
    np.testing.assert_allclose(found.get_property("forces_interval", frame), multiples[species] * stds, rtol=1e-12)
    assert found.get_property("energy_interval", frame) == pytest.approx(1.7 * energy_std, rel=1e-12)
    np.testing.assert_allclose(half.get_property("forces_interval", frame), stds, rtol=1e-12)
    np.testing.assert_array_equal(found.get_property("aleatoric_std", frame), noise[species])
    other = MollifieldCalculator(tmp_path / "stated.pt", level=0.8)
    with pytest.raises(
        PropertyNotImplementedError, match=r"no forces_interval of level 0\.8; .* for forces: 0\.5, 0\.9"
    ):
        other.get_property("forces_interval", frame)
    export(potential, tmp_path / "silent.pt", [frame])
    with pytest.raises(PropertyNotImplementedError, match="states no noise of its force labels"):
        MollifieldCalculator(tmp_path / "silent.pt").get_property("aleatoric_std", frame)


@pytest.mark.parametrize(
    "tables, problem",
    [
        ({"force_std": torch.ones(2, 1, 2)}, r"'force_std' has shape \[2, 1, 2\], expected \[3, K, 2\]"),
        (
            {"energy_std": torch.tensor([[[1.0, 2.0], [0.5, 3.0]]])},
            "'energy_std': its knots are not positive and rising",
        ),
        ({"force_noise_std": torch.ones(1)}, r"'force_noise_std' has shape \[1\], expected \[3\]"),
    ],
)
def test_calibration_that_is_none_is_refused(tables: dict[str, torch.Tensor], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=problem):
        export(build_potential(torch.float64), tmp_path / "model.pt", [ethanol()], calibration=tables)


def test_a_member_is_a_model_of_its_own(loaded: MollifieldCalculator) -> None:
    artefact, frame = loaded.artefact, sheared_crystal()
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


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, True), (True, False, False), (False, False, True)])
def test_stress_within_the_periodic_directions(calc: MollifieldCalculator, pbc: tuple[bool, ...]) -> None:
    """Central differences of the energy by strains within the periodic directions; no other components."""
    frame = sheared_crystal()
    frame.pbc = pbc
    stress = voigt_6_to_full_3x3_stress(calc.get_property("stress", frame))
    directions = np.linalg.qr(frame.cell.array[list(pbc)].T)[0].T
    outside = np.eye(3) - directions.T @ directions
    np.testing.assert_allclose(outside @ stress, 0.0, atol=1e-12)
    for first in directions:
        for second in directions:
            strain = 0.5 * (np.outer(first, second) + np.outer(second, first))
            energies = []
            for sign in (1, -1):
                strained = frame.copy()
                strained.set_cell(frame.cell.array @ (np.eye(3) + sign * 1e-5 * strain), scale_atoms=True)
                energies.append(calc.get_property("energy", strained))
            expected = (energies[0] - energies[1]) / 2e-5 / frame.get_volume()
            assert first @ stress @ second == pytest.approx(expected, abs=1e-7)
    assert np.abs(stress).max() > 1e-3  # eV/Å³: not all of this is zero


def test_no_stress_without_a_periodic_volume(calc: MollifieldCalculator) -> None:
    for frame, pbc in ((ethanol(), False), (sheared_crystal(), False), (slab(), (True, True, False))):
        frame.pbc = pbc
        if frame.pbc.any():
            frame.cell[2] = 0.0
        assert np.isfinite(calc.get_property("energy", frame))
        for name in ("stress", "stresses"):
            with pytest.raises(PropertyNotImplementedError, match="periodic direction"):
                calc.get_property(name, frame)


@pytest.mark.parametrize("kind", [FrechetCellFilter, UnitCellFilter, StrainFilter])
def test_cell_filters_relax_a_slab_in_its_plane(calc: MollifieldCalculator, kind: type) -> None:
    atoms = slab()
    before = atoms.cell.array
    atoms.calc = calc
    filtered = kind(atoms, mask=[True, True, False, False, False, True])
    stress = atoms.get_stress()
    with BFGS(filtered, logfile=None) as relaxation:
        relaxation.run(fmax=0.0, steps=8)
    np.testing.assert_allclose(atoms.cell.array[2, 2], before[2, 2], atol=1e-9)
    assert np.abs(atoms.get_stress()).max() < 0.5 * np.abs(stress).max()


@pytest.mark.parametrize("pbc", [True, (True, True, False)])
def test_atomic_stresses(calc: MollifieldCalculator, pbc: object) -> None:
    """They sum to the stress; in a periodic row of atoms that differ, half of each edge lies at each end."""
    frame = sheared_crystal()
    frame.pbc = pbc
    frame.calc = calc
    stresses = frame.get_stresses()
    assert stresses.shape == (len(frame), 6)
    np.testing.assert_allclose(stresses.sum(axis=0), frame.get_stress(), atol=1e-14)
    assert np.ptp(stresses, axis=0).max() > 1e-4
    calc.reset()
    frame.get_stress()
    assert "stresses" not in calc.results


def test_atomic_stresses_share_an_edge_among_its_ends(calc: MollifieldCalculator) -> None:
    """Two atoms: both have half of the virial, r (x) F, whoever owns the energy."""
    frame = Atoms("CO", [[0, 0, 0], [0.9, 0.5, 0.3]], cell=[20, 20, 20], pbc=True)
    forces = calc.get_property("forces", frame)
    half = -0.5 * np.outer(frame.positions[1], forces[1]) / frame.get_volume()
    for stress in calc.get_property("stresses", frame):
        np.testing.assert_allclose(voigt_6_to_full_3x3_stress(stress), half, atol=1e-12)


def energy_of(atoms: Atoms) -> float:
    """Called in another process: atoms bring their calculator along."""
    return atoms.get_potential_energy()


def test_atoms_travel_with_their_calculator(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickled and copied, with results and settings, into another directory or process."""
    monkeypatch.chdir(model_file.parent)
    atoms = ethanol()
    atoms.calc = MollifieldCalculator(model_file.name, always_std=True)
    energy = atoms.get_potential_energy()
    pickled = pickle.dumps(atoms)
    assert len(pickled) < 10_000
    monkeypatch.chdir("/")
    for other in (pickle.loads(pickled), copy.deepcopy(atoms)):
        assert other.calc is not atoms.calc
        assert other.calc.results["energy"] == energy
        other.positions[0, 0] += 0.1
        assert other.get_potential_energy() != energy
        assert "forces_std" in other.calc.results
        assert atoms.calc.results["energy"] == energy
    assert copy.deepcopy(atoms).calc.artefact is atoms.calc.artefact
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        atoms.calc.reset()
        assert pool.map(energy_of, [atoms]) == [pytest.approx(energy, abs=1e-10)]


def test_a_file_that_changed_is_no_longer_the_calculators(tmp_path: Path) -> None:
    export(build_potential(torch.float32, n_members=1), tmp_path / "model.pt", [ethanol()])
    pickled = pickle.dumps(MollifieldCalculator(tmp_path / "model.pt"))
    export(build_potential(torch.float64, n_members=2), tmp_path / "model.pt", [ethanol()])
    with pytest.raises(ValueError, match=r"model\.pt: has changed since"):
        pickle.loads(pickled)
    (tmp_path / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.pt"):
        pickle.loads(pickled)


@pytest.mark.parametrize("file", ["frames.traj", "frames.extxyz"])
def test_stds_come_back_from_files(calc: MollifieldCalculator, tmp_path: Path, file: str) -> None:
    atoms = sheared_crystal()
    atoms.calc = with_std(calc)
    atoms.get_stresses()
    written = atoms.calc.results
    ase.io.write(tmp_path / file, [atoms, atoms])
    back = ase.io.read(tmp_path / file, ":")[1]
    names = set(written) - ({"forces_cov"} if file.endswith("extxyz") else set())
    assert set(back.calc.results) == names
    for name in names:
        np.testing.assert_allclose(back.calc.get_property(name, back), written[name], atol=1e-7)


def test_single_point_calculators_and_databases_take_stds(calc: MollifieldCalculator, tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = with_std(calc)
    atoms.get_forces()
    copied = SinglePointCalculator(atoms, **atoms.calc.results)
    np.testing.assert_array_equal(copied.get_property("forces_std", atoms), atoms.calc.results["forces_std"])
    with ase.db.connect(tmp_path / "frames.db") as database:
        database.write(atoms)
        assert database.get(id=1).energy == pytest.approx(atoms.calc.results["energy"])


def test_other_programs_read_stds_as_arrays(calc: MollifieldCalculator, tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = with_std(calc)
    atoms.get_forces()
    ase.io.write(tmp_path / "frame.extxyz", atoms)
    reader = "import ase.io, sys; a = ase.io.read(sys.argv[1]); print(a.arrays['forces_std'][3], a.info['energy_std'])"
    command = [sys.executable, "-c", reader, str(tmp_path / "frame.extxyz")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    expected = [atoms.calc.results["forces_std"][3], atoms.calc.results["energy_std"]]
    np.testing.assert_allclose([float(x) for x in found], expected, atol=1e-7)


def test_atoms_on_top_of_each_other_are_named(calc: MollifieldCalculator) -> None:
    atoms = ethanol()
    atoms.positions[7] = atoms.positions[2]
    with pytest.raises(ValueError, match="atoms 2 and 7 are 0 Å apart"):
        calc.get_property("energy", atoms)


def test_positions_that_are_not_finite_are_named(calc: MollifieldCalculator) -> None:
    atoms = ethanol()
    atoms.positions[3, 1] = np.nan
    with pytest.raises(ValueError, match="atom 3: position .* is not finite"):
        calc.get_property("energy", atoms)


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
