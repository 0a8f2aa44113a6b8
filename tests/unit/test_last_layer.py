"""The posterior of the last layer: features, closed forms, draws, files and commands. float64."""

from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield import MollifieldCalculator, load_artefact
from mollifield.artefact import read_posterior
from mollifield_train.cli import main
from mollifield_train.data.batches import Graph, build_graphs, collate
from mollifield_train.data.frames import Frame, frames_from_atoms
from mollifield_train.export import export
from mollifield_train.predict import predict
from mollifield_train.training.members import load_members, pack
from mollifield_train.uncertainty import KINDS
from mollifield_train.uncertainty.draws import antithetic, orthogonal
from mollifield_train.uncertainty.features import FrameFeatures, features_of
from mollifield_train.uncertainty.last_layer import (
    Noise,
    Posterior,
    evidence_prior,
    information,
    noise_of,
    posterior_of,
    updated,
)
from mollifield_train.uncertainty.pops import box_of, pointwise_shifts, second_moment
from mollifield_train.uncertainty.posterior_file import make_posterior, update_posterior

from ..conftest import build_potential, ethanol
from ..contract.samples import trunk

N_FEATURES = 24
"""16 hidden units and 8 latent features."""
NOISE = 0.05
"""eV/Å of a component, eV/atom."""


def shift() -> torch.Tensor:
    """Where the weights that made the labels lie, seen from the trained ones."""
    return 0.002 * torch.randn(N_FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def moved(seed: int, size: float = 0.05) -> Atoms:
    atoms = ethanol()
    atoms.rattle(size, seed=seed)
    return atoms


def labelled(n: int, first: int = 0, size: float = 0.05) -> list[Atoms]:
    """Frames whose labels are those of the trunk with other weights, and noise."""
    model, rng, images = trunk(), np.random.default_rng(first), []
    truth = model.sampled((model.last_layer_weights() + shift())[None])
    for k in range(n):
        atoms = moved(first + k, size)
        graphs = build_graphs([Frame.unlabelled(atoms, "frame")], truth.species, truth.r_max)
        found = predict(truth, collate(graphs))
        energy = float(found.energies) + NOISE * len(atoms) * rng.normal()
        forces = found.forces[0].numpy() + NOISE * rng.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        images.append(atoms)
    return images


def features(images: list[Atoms]) -> list[FrameFeatures]:
    return features_of(trunk(), graphs_of(images))


def graphs_of(images: list[Atoms]) -> list[Graph]:
    model = trunk()
    return build_graphs(frames_from_atoms(images, "memory"), model.species, model.r_max)


@pytest.fixture(scope="module")
def found() -> list[FrameFeatures]:
    return features(labelled(8))


@pytest.fixture(scope="module")
def posterior(found: list[FrameFeatures]) -> Posterior:
    return posterior_of(found, noise_of(found, 3), trunk().last_layer_weights())


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a training leaves one, of a committee whose member 1 is the trunk."""
    path = tmp_path_factory.mktemp("trained") / "model.pt"
    committee = build_potential(torch.float64, 2, zbl=True, correlation=2, messages="scattered")
    for name, tensor in dict(trunk().named_parameters()).items():
        dict(committee.named_parameters())[name].data[1] = tensor[0]
    trained = {"potential": pack(committee), "trained_before": [], "trained_on": ["k1"]}
    export(committee, path, [ethanol()], {"name": "test"}, splines=False, trained=trained, labels=["forces"])
    return path


def written(path: Path, images: list[Atoms]) -> Path:
    ase.io.write(path, images, format="extxyz")
    return path


@pytest.fixture(scope="module")
def frames_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("frames") / "train.xyz", labelled(8))


@pytest.fixture(scope="module")
def laplace_file(model_file: Path, frames_file: Path) -> Path:
    """With twice as many samples as there are weights, so that they have the posterior's covariance exactly."""
    path = frames_file.with_name("laplace.pt")
    make_posterior(model_file, frames_file, path, n_samples=2 * N_FEATURES, member=1)
    return path


def test_features_are_what_energies_and_forces_are_linear_in(found: list[FrameFeatures]) -> None:
    """Labels are linear in the shift of the weights, but for their noise."""
    errors = [(frame.energy_residual - float(frame.energy @ shift())) / len(frame.types) / NOISE for frame in found]
    errors += torch.cat([(f.forces_residual - f.forces @ shift()).flatten() / NOISE for f in found]).tolist()
    assert np.std(errors) == pytest.approx(1.0, abs=0.15)
    exact = trunk().sampled((trunk().last_layer_weights() + shift())[None])
    batch = collate(graphs_of(labelled(1)))
    before, after = predict(trunk(), batch), predict(exact, batch)
    torch.testing.assert_close((after.energies - before.energies)[0, 0], found[0].energy @ shift())
    torch.testing.assert_close((after.forces - before.forces)[0], found[0].forces @ shift())


def dense(found: list[FrameFeatures], noise: Noise) -> tuple[np.ndarray, np.ndarray]:
    """Rows and residuals over their noise, written out."""
    rows, residuals = [], []
    for frame in found:
        rows.append(frame.energy.numpy() / (noise.energy * len(frame.types)))
        residuals.append(frame.energy_residual / (noise.energy * len(frame.types)))
        for atom, species in enumerate(frame.types.tolist()):
            for axis in range(3):
                std = float(noise.forces[species]) / np.sqrt(3.0)
                rows.append(frame.forces[atom, axis].numpy() / std)
                residuals.append(float(frame.forces_residual[atom, axis]) / std)
    return np.array(rows), np.array(residuals)


def test_posterior_is_that_of_a_linear_regression(found: list[FrameFeatures], posterior: Posterior) -> None:
    rows, _ = dense(found, posterior.noise)
    precision = rows.T @ rows + posterior.prior * np.eye(N_FEATURES)
    np.testing.assert_allclose(posterior.precision.numpy(), precision, rtol=1e-10, atol=1e-8 * precision.max())
    root = posterior.covariance_root().numpy()
    np.testing.assert_allclose(root @ root @ precision, np.eye(N_FEATURES), atol=1e-6)
    assert not posterior.mean.any()


def test_prior_makes_the_evidence_largest() -> None:
    """log evidence = F/2 log alpha - alpha/2 |w|^2 - 1/2 log det(A + alpha) at fixed w."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 6, generator=generator, dtype=torch.float64) * torch.logspace(-2, 1, 6, dtype=torch.float64)
    data, weights = rows.T @ rows, torch.randn(6, generator=generator, dtype=torch.float64)
    best = evidence_prior(data, weights)

    def evidence(alpha: float) -> float:
        identity = torch.eye(6, dtype=torch.float64)
        return float(
            3.0 * np.log(alpha) - 0.5 * alpha * weights.square().sum() - 0.5 * torch.logdet(data + alpha * identity)
        )

    assert evidence(best) > max(evidence(1.1 * best), evidence(best / 1.1))


def test_update_is_the_batch_solution_in_any_order(posterior: Posterior) -> None:
    new = features(labelled(6, 100, 0.15))
    one_by_one = posterior
    for frame in reversed(new):
        one_by_one = updated(one_by_one, [frame])
    at_once = updated(posterior, new)
    rows, residuals = dense(new, posterior.noise)
    precision = posterior.precision.numpy() + rows.T @ rows
    mean = np.linalg.solve(precision, rows.T @ residuals)
    for result in (one_by_one, at_once):
        np.testing.assert_allclose(result.mean.numpy(), mean, rtol=0, atol=1e-8)
        np.testing.assert_allclose(result.precision.numpy(), precision, rtol=1e-8)


def test_samples_have_the_mean_and_the_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    few = antithetic(orthogonal(4, 7, generator))
    assert few.sum(dim=0).abs().max() < 1e-14
    torch.testing.assert_close(
        (few[::2] @ few[::2].T).triu(1), torch.zeros(4, 4, dtype=torch.float64), atol=1e-12, rtol=0
    )
    on_average = torch.stack([antithetic(orthogonal(4, 7, generator)).T.cov() for _ in range(4000)]).mean(dim=0)
    torch.testing.assert_close(on_average, torch.eye(7, dtype=torch.float64), atol=0.06, rtol=0)
    torch.testing.assert_close(
        antithetic(orthogonal(14, 7, generator)).T.cov(), torch.eye(7, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_pops_meets_each_label(found: list[FrameFeatures], posterior: Posterior) -> None:
    """With its shift a row's residual is zero; no other weights that do so are nearer; the box holds all of them."""
    shifts = pointwise_shifts(posterior, found, quantile=0.0)
    rows, residuals = dense(found, posterior.noise)
    assert len(shifts) == len(rows)
    left = np.abs(rows @ shifts.numpy().T - residuals[:, None])  # [label, shift]
    assert left.min(axis=0).max() < 1e-9
    weighted = (posterior.precision @ shifts[0]).numpy()
    row = rows[left[:, 0].argmin()]
    np.testing.assert_allclose(
        weighted / np.linalg.norm(weighted), np.sign(weighted @ row) * row / np.linalg.norm(row), atol=1e-9
    )
    axes, low, high = box_of(shifts)
    inside = shifts @ axes.T
    assert (inside >= low - 1e-12).all() and (inside <= high + 1e-12).all()


def test_samples_of_a_box(found: list[FrameFeatures], posterior: Posterior) -> None:
    """As many as there are weights have its second moment; fewer are the directions in which labels feel it most."""
    axes, low, high = box_of(pointwise_shifts(posterior, found))
    moment = second_moment(axes, low, high)
    uniform = torch.rand(200_000, len(axes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = (low + (high - low) * uniform) @ axes
    torch.testing.assert_close(
        points.T @ points / len(points), moment, rtol=0.02, atol=0.02 * float(moment.abs().max())
    )
    generator = torch.Generator()
    for n in (N_FEATURES, 2 * N_FEATURES):
        draws = KINDS["pops"].draw(posterior, found, n, generator)
        torch.testing.assert_close(draws.T @ draws / n, moment, rtol=1e-9, atol=1e-9 * float(moment.abs().max()))
    few = KINDS["pops"].draw(posterior, found, 3, generator)
    felt = torch.einsum("nf,fg,ng->n", few, posterior.precision, few)  # in terms of the labels' noise
    assert float(felt.mean()) == pytest.approx(float((moment @ posterior.precision).trace()), rel=1e-9)


def exact_std(path: Path, atoms: Atoms) -> tuple[float, np.ndarray]:
    calc = MollifieldCalculator(path)
    forces = calc.get_property("forces_std", atoms)
    return calc.results["energy_std"], forces


def test_file_states_the_posterior(laplace_file: Path, found: list[FrameFeatures], posterior: Posterior) -> None:
    """Mean: the trained model; std: sqrt(phi^T H^-1 phi), in the members' units; noise: in the tables."""
    artefact = load_artefact(laplace_file)
    assert artefact.shared_trunk and artefact.n_members == 2 * N_FEATURES and artefact.labels == ["forces"]
    assert artefact.summary["name"] == "test" and artefact.summary["posterior"]["n_frames"] == 8
    np.testing.assert_allclose(artefact.calibration.force_noise, posterior.noise.forces.numpy(), rtol=1e-4)
    assert artefact.calibration.energy_noise == pytest.approx(posterior.noise.energy, rel=1e-5)
    atoms = labelled(1)[0]  # one of the frames: not outside
    energy_std, forces_std = exact_std(laplace_file, atoms)
    covariance = posterior.precision.inverse()
    frame = found[0]
    assert energy_std == pytest.approx(float((frame.energy @ covariance @ frame.energy).sqrt()), rel=1e-4)
    expected = torch.einsum("naf,fg,nag->n", frame.forces, covariance, frame.forces).sqrt()
    np.testing.assert_allclose(forces_std, expected.numpy(), rtol=1e-4)

    readout = torch.cat(
        [dict(artefact.whole.named_parameters())[f"potential.readout.weight_{k}"] for k in (2, 3)], dim=1
    )
    torch.testing.assert_close(readout.mean(dim=0).flatten(), trunk().last_layer_weights(), rtol=0, atol=1e-14)


def test_the_trained_weights_stay_in_the_file(laplace_file: Path) -> None:
    """Of the member that was taken: another training may begin from it."""
    for name, tensor in load_members(laplace_file).named_parameters():
        torch.testing.assert_close(tensor.detach(), dict(trunk().named_parameters())[name].detach())


def test_update_in_files(laplace_file: Path, tmp_path: Path) -> None:
    """Stds fall at new frames and rise nowhere, errors there fall; the order of two updates makes no difference."""
    new, fresh = labelled(6, 100, 0.15), labelled(3, 200, 0.15)
    first, second = written(tmp_path / "a.xyz", new[:4]), written(tmp_path / "b.xyz", new[4:])
    update_posterior(laplace_file, first, tmp_path / "first.pt")
    update_posterior(tmp_path / "first.pt", second, tmp_path / "steps.pt")
    update_posterior(laplace_file, [second, first], tmp_path / "once.pt")
    steps, once = (read_posterior(load_artefact(tmp_path / f"{name}.pt", verify=False)) for name in ("steps", "once"))
    for key, value in steps[1].items():
        torch.testing.assert_close(once[1][key], value, rtol=1e-8, atol=1e-8)
    before = MollifieldCalculator(laplace_file, always_std=True)
    after = MollifieldCalculator(tmp_path / "once.pt", always_std=True)
    errors = {before: [], after: []}
    for atoms in [*new, *fresh, *labelled(2), moved(0, 0.3)]:
        for calc in (before, after):
            calc.calculate(atoms)
            if atoms in fresh:
                errors[calc].append(calc.results["forces"] - atoms.get_forces())
        assert after.results["energy_std"] <= before.results["energy_std"] * (1.0 + 1e-6)
        ratio = after.results["forces_std"] / before.results["forces_std"]
        assert ratio.max() <= 1.0 + 1e-6
        assert atoms not in new or ratio.max() < 0.9
    assert np.std(errors[after]) < 0.8 * np.std(errors[before])


def test_commands(model_file: Path, frames_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Posterior, update, calibrate: files that all the others understand."""
    out, more = tmp_path / "out.pt", written(tmp_path / "new.xyz", labelled(2, 300))
    command = ["posterior", str(model_file), str(frames_file), "-o", str(out), "--samples", "4"]
    assert main([*command, "--kind", "pops", "--noise-from", str(more)]) == 0
    assert load_artefact(out).n_members == 4
    assert main(["update", str(out), str(more), "-o", str(tmp_path / "no.pt")]) == 2
    assert "a posterior of kind pops depends on all frames at once" in capsys.readouterr().err
    assert main(command) == 0
    assert "24 weights in the last layer" in capsys.readouterr().out
    assert main(["update", str(out), str(more), "-o", str(out)]) == 0
    assert main(["update", str(out), str(more), "-o", str(out)]) == 2
    assert "new.xyz: the posterior of" in capsys.readouterr().err
    unseen = written(tmp_path / "unseen.xyz", labelled(8, 500))
    assert main(["calibrate", str(out), str(unseen), str(more), "-o", str(out)]) == 2
    assert "was trained on it" in capsys.readouterr().err
    assert main(["calibrate", str(out), str(unseen), "-o", str(tmp_path / "calibrated.pt")]) == 0
    calibrated = load_artefact(tmp_path / "calibrated.pt")
    assert calibrated.calibration.force_knots is not None and calibrated.calibration.force_noise is not None
    further = written(tmp_path / "further.xyz", labelled(2, 400))
    update_posterior(tmp_path / "calibrated.pt", further, out)
    np.testing.assert_allclose(load_artefact(out).calibration.force_knots, calibrated.calibration.force_knots)


def without_forces() -> list[Atoms]:
    images = labelled(2)
    for atoms in images:
        del atoms.calc.results["forces"]
    return images


def with_silicon() -> list[Atoms]:
    images = labelled(2)
    images[1].symbols[0] = "Si"
    images[1].calc.atoms = images[1].copy()
    return images


@pytest.mark.parametrize(
    "images, options, message",
    [
        (labelled, ["--kind", "swag"], "posterior 'swag' isn't known; known are laplace, pops"),
        (labelled, ["--samples", "5"], "5 samples; allowed are even numbers from 2"),
        (labelled, ["--member", "2"], "has no member 2; allowed: 0 to 1"),
        (without_forces, [], "no frame has forces"),
        (with_silicon, [], "frame 1 of .*: has Si; this model knows H, C, O"),
    ],
)
def test_wrong_inputs(
    images: Callable[..., list[Atoms]], options: list[str], message: str, model_file: Path, tmp_path: Path, capsys
) -> None:
    path = written(tmp_path / "frames.xyz", labelled(2) if images is labelled else images())
    assert main(["posterior", str(model_file), str(path), "-o", str(tmp_path / "out.pt"), *options]) == 2
    error = capsys.readouterr().err
    assert np.all([part in error for part in message.split(".*")]), error
    assert not (tmp_path / "out.pt").exists()


def test_files_without_what_is_needed(model_file: Path, frames_file: Path, tmp_path: Path) -> None:
    export(trunk(), tmp_path / "bare.pt", [ethanol()], splines=False)
    with pytest.raises(ValueError, match="bare.pt: a model file without the weights as they were trained"):
        make_posterior(tmp_path / "bare.pt", frames_file, tmp_path / "out.pt")
    with pytest.raises(ValueError, match="model.pt: holds no posterior to update"):
        update_posterior(model_file, frames_file, tmp_path / "out.pt")


def test_frames_without_energies(found: list[FrameFeatures]) -> None:
    """Count for their forces; the noise of energies is then a guess from forces."""
    images = labelled(2)
    for atoms in images:
        del atoms.calc.results["energy"]
    alone = features(images)
    noise = noise_of(alone, 3)
    assert noise.energy == pytest.approx(float(noise.forces.mean()))
    matrix, _ = information(alone, noise, N_FEATURES)
    rows = torch.cat(
        [f.forces.flatten(0, 1) / (noise.forces[f.types] / 3**0.5).repeat_interleave(3)[:, None] for f in alone]
    )
    torch.testing.assert_close(matrix, rows.T @ rows)
