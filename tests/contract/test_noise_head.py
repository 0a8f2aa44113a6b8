"""The noise of labels that a file with a noise head tells: where it comes from, how it turns, what it survives."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms

from mollifield import MollifieldCalculator, contract, load_artefact
from mollifield.artefact import save_calibrated
from mollifield.potential import evaluate
from mollifield.uncertainty import aleatoric, forces_std
from mollifield_train.export import export, noise_head_of
from mollifield_train.model.noise_head import FEATURE_LIMIT, LOG_RANGE

from ..conftest import ethanol, sheared_crystal
from .noise import committee, noise_head

L_MAX_OF = {"l = 2": {}, "l = 1": {"l_max": 1}, "one layer": {"n_layers": 1, "l_max": 0}}
"""Settings of models with less and less to tell of an atom; `l_max` of its features is 2, 1, -1."""


@pytest.fixture(scope="module", params=L_MAX_OF)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = L_MAX_OF[request.param]
    path = tmp_path_factory.mktemp("noise") / "model.pt"
    l_max = -1 if "n_layers" in settings else settings.get("l_max", 2)
    export(committee(**settings), path, [ethanol()], splines=False, noise_head=noise_head(3, l_max=l_max))
    return path


def turned(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    other = atoms.copy()
    other.positions = other.positions @ matrix.T
    other.set_cell(other.cell.array @ matrix.T)
    return other


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_covariances_turn_with_the_frame(file: Path, sign: float) -> None:
    """R C R^T, an inversion included; trace and energy stay the same. Both parts of the uncertainty."""
    calc = MollifieldCalculator(file)
    rotation = sign * np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    atoms = sheared_crystal()
    atoms.rattle(0.1, seed=1)
    other = turned(atoms, rotation)
    for name in ("aleatoric_cov", "forces_cov"):
        before, after = calc.get_property(name, atoms), calc.get_property(name, other)
        size = max(1.0, np.abs(before).max())
        expected = np.einsum("ab,nbc,dc->nad", rotation, before, rotation)
        np.testing.assert_allclose(after, expected, rtol=0, atol=1e-10 * size)
        np.testing.assert_allclose(np.trace(after, axis1=1, axis2=2), np.trace(before, axis1=1, axis2=2), rtol=1e-10)
        assert (np.linalg.eigvalsh(before)[:, 2] > 1.05 * np.linalg.eigvalsh(before)[:, 0]).any()
    for name in ("aleatoric_std", "energy_aleatoric_std"):
        np.testing.assert_allclose(calc.get_property(name, other), calc.get_property(name, atoms), rtol=1e-10)


def test_properties_are_of_one_evaluation(file: Path) -> None:
    calc, atoms = MollifieldCalculator(file), ethanol()
    covariance = calc.get_property("aleatoric_cov", atoms)
    np.testing.assert_allclose(calc.get_property("aleatoric_std", atoms), forces_std(covariance), rtol=1e-14)
    np.testing.assert_array_equal(calc.get_property("epistemic_std", atoms), calc.get_property("forces_std", atoms))
    stds = calc.get_property("aleatoric_std", atoms)
    assert len({f"{std:.6f}" for std in stds}) > 3, "of atoms, not of species"
    ase.io.write("-", atoms, format="extxyz")  # ASE knows how to write them


def test_means_are_over_trunks(file: Path) -> None:
    """The law of total variance: the noise is the mean of what the members' heads say, one by one."""
    artefact, atoms = load_artefact(file), ethanol()
    arguments = (atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc)
    out = evaluate(artefact, *arguments)
    found = aleatoric(artefact, out)
    assert found is not None
    covariances, energies = [], []
    for k in range(3):
        member = artefact.member(k)
        features = evaluate(member, *arguments)
        features = features.latent if features.noise_features is None else features.noise_features
        with torch.no_grad():
            said = member.module.noise(features, out.types, out.forces.mean(0))
        covariances.append(said[contract.FORCE_NOISE][0].numpy())
        energies.append(float(said[contract.ENERGY_NOISE].sum()))
    np.testing.assert_allclose(found.forces_cov, np.mean(covariances, axis=0), rtol=1e-12)
    assert found.energy_std == pytest.approx(np.mean(energies) ** 0.5, rel=1e-12)
    assert np.std(covariances, axis=0).max() > 1e-4


@pytest.mark.parametrize("size", [0.0, 1e-8, 1.0, 1e8, 1e300, float("inf"), float("nan")])
def test_positive_definite_whatever_the_features(size: float) -> None:
    head = noise_head(2)
    generator = torch.Generator().manual_seed(1)
    features = size * torch.randn(2, 40, 80, generator=generator, dtype=torch.float64)
    forces = min(size, 1e100) * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    found = head(features, torch.arange(40) % 3, forces.nan_to_num())
    stds = torch.linalg.eigvalsh(found["force_noise"])
    limit = LOG_RANGE + FEATURE_LIMIT
    for values, middle in ((stds, -5.0), (found["energy_noise"], -7.0)):
        assert values.isfinite().all()
        assert values.min().log() > middle - limit and values.max().log() < middle + limit


def test_energy_is_that_of_a_model_without_a_head(file: Path, tmp_path: Path) -> None:
    settings = L_MAX_OF[next(k for k in L_MAX_OF if load_artefact(file).whole.noise_head.l_max == LEVELS[k])]
    export(committee(**settings), tmp_path / "bare.pt", [ethanol()], splines=False)
    atoms = sheared_crystal()
    ours, bare = MollifieldCalculator(file), MollifieldCalculator(tmp_path / "bare.pt")
    for name in ("energy", "forces", "stress", "forces_cov"):
        np.testing.assert_allclose(ours.get_property(name, atoms), bare.get_property(name, atoms), rtol=1e-12)


LEVELS = {"l = 2": 2, "l = 1": 1, "one layer": -1}


def test_a_head_survives_a_calibration(file: Path, tmp_path: Path) -> None:
    knots = {contract.FORCE_STD: torch.tensor([[[1.0, 2.0]]] * 3, dtype=torch.float64)}
    save_calibrated(load_artefact(file), tmp_path / "calibrated.pt", knots, {})
    before, after = MollifieldCalculator(file), MollifieldCalculator(tmp_path / "calibrated.pt")
    atoms = ethanol()
    np.testing.assert_array_equal(
        after.get_property("aleatoric_cov", atoms), before.get_property("aleatoric_cov", atoms)
    )
    np.testing.assert_allclose(
        after.get_property("epistemic_std", atoms), 2 * before.get_property("epistemic_std", atoms)
    )


def test_a_head_is_read_back(file: Path) -> None:
    artefact = load_artefact(file)
    head = noise_head_of(artefact)
    assert head is not None
    expected = noise_head(3, l_max=head.l_max).state_dict()
    assert expected.keys() == head.state_dict().keys()
    for name, tensor in head.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
        assert f"noise_head.{name}" in artefact.whole.member_tensors
