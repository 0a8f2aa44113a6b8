"""Readouts of one trunk, trained together: the likelihoods, the loss of a step, runs and their files. float64."""

from pathlib import Path
from types import ModuleType

import ase.io
import numpy as np
import pytest
import torch
from torch import Tensor

from mollifield import load_artefact
from mollifield_train.calibrate.fitting import calibrate_file
from mollifield_train.config import LossConfig, TrainConfig, validated
from mollifield_train.data.batches import Batch, collate
from mollifield_train.evaluate import evaluate_file
from mollifield_train.loss import energy_force, lengths, likelihood
from mollifield_train.model.protocol import Potential
from mollifield_train.model.samples import member_state
from mollifield_train.predict import mean_of, predict
from mollifield_train.training.heads import HeadsObjective
from mollifield_train.training.loading import load_data
from mollifield_train.training.members import build_potential, load_members, warm_start
from mollifield_train.training.run import train
from mollifield_train.uncertainty.posterior_file import make_posterior
from mollifield_train.uncertainty_config import HeadsConfig

from .fitting import history, labelled_water, later_export, no_export, power_cut, tiny_config, with_export  # noqa: F401  (fixtures)

Setting = tuple[Potential, Batch]
HEADS = {"uncertainty": {"kinds": [{"kind": "heads", "last": 0.5, "every": 2}]}, "committee": {"n_members": 3}}


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def gaussian(value: float, samples: np.ndarray, floor: float) -> float:
    variance = np.var(samples, ddof=1) + floor**2
    return 0.5 * (np.log(variance) + (value - np.mean(samples)) ** 2 / variance)


def test_likelihoods_are_those_of_normal_distributions() -> None:
    """Frames of other sizes count alike; those without a label do not."""
    n_atoms, frame_of_atom = torch.tensor([1, 3, 2]), torch.tensor([0, 1, 1, 1, 2, 2])
    samples, energies = random(4, 3), random(3)
    labelled = torch.tensor([True, True, False])
    found = likelihood.energy_term(samples, energies, n_atoms, None, labelled)
    parts = [gaussian(float(energies[f] / n), (samples[:, f] / n).numpy(), 1e-4) for f, n in enumerate((1, 3))]
    assert float(found) == pytest.approx(np.mean(parts), rel=1e-12)
    samples, forces = random(4, 6, 3), random(6, 3)
    found = likelihood.force_term(samples, forces, frame_of_atom, n_atoms, torch.tensor([[2.0, 1.0, 1.0]]))
    of_atoms = []
    for atom in range(6):  # the variance of a component is a third of the trace
        variance = np.trace(np.cov(samples[:, atom].numpy().T)) / 3.0 + 1e-6
        error = float((samples[:, atom].mean(0) - forces[atom]).square().mean())
        of_atoms.append(0.5 * (np.log(variance) + error / variance))
    expected = (2.0 * of_atoms[0] + np.mean(of_atoms[1:4]) + np.mean(of_atoms[4:])) / 3.0
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_heads_without_spread_have_a_finite_likelihood() -> None:
    samples = torch.ones(3, 1, dtype=torch.float64, requires_grad=True)
    loss = likelihood.energy_term(samples, torch.ones(1), torch.tensor([2]))
    (gradient,) = torch.autograd.grad(loss.sum(), samples)
    assert loss.item() == pytest.approx(np.log(1e-4)) and torch.isfinite(gradient).all()


@pytest.fixture(name="setting")
def example(tmp_path: Path) -> Setting:
    """An untrained model, and frames."""
    config = tiny_config(tmp_path, labelled_water(6, box=4.5), data={"valid_fraction": 0.0}, **HEADS)
    data = load_data(config, progress=False)
    return build_potential(config, data.statistics, 0, 3), collate(data.training)


@pytest.mark.parametrize("measure, power, terms", [("squares", 2, energy_force), ("lengths", 1, lengths)])
def test_the_loss_of_a_step(setting: Setting, measure: str, power: int, terms: ModuleType) -> None:
    """That of the mean; spreads by likelihood, all heads' forces in every second step of the last half."""
    model, batch = setting
    loss = validated(
        LossConfig, {"measure": measure, "forces": 7.0, "energy": 3.0, "final_energy": None, "stress": 0.0}, ""
    )
    objective = HeadsObjective(HeadsConfig(last=0.5, every=2), loss, 1.0, 0)
    found = predict(model, batch)
    mean = mean_of(found)
    sizes = batch.frame_of_atom, batch.n_atoms
    early = 7.0 * terms.force_term(mean.forces, batch.forces, *sizes)
    energies = (mean.energies, batch.energies) if power == 2 else (mean.energies, batch.energies, batch.n_atoms)
    early = valid = early + 3.0 * terms.energy_term(*energies)
    early = early + 3.0 * likelihood.energy_term(found.energies, batch.energies, batch.n_atoms, power=power)
    late = 2.0 * 7.0 * likelihood.force_term(found.forces, batch.forces, *sizes, power=power)
    valid = valid + likelihood.energy_term(found.energies, batch.energies, batch.n_atoms)
    valid = valid + likelihood.force_term(found.forces, batch.forces, *sizes)
    for progress, step, expected in ((0.4, 2, early), (0.6, 3, early), (0.6, 2, early + late), (1.0, None, valid)):
        prediction, losses = objective.evaluated(model, batch, None, progress, step)
        torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(prediction.forces, mean.forces, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(prediction.energies, mean.energies, rtol=1e-12, atol=0.0)
        assert losses.requires_grad == (step is not None)


@pytest.mark.parametrize("power", [1, 2])
def test_the_spread_is_pulled_as_an_error_of_its_size(power: int) -> None:
    """Where it is far too large; where it is right, not at all; and the mean never."""
    n_atoms = torch.tensor([2])
    for scale in (0.1, 10.0):
        deviations = scale * torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
        for error, pull in ((0.0, 1.0), (scale, 0.0)):
            samples = deviations.clone().requires_grad_()
            term = likelihood.energy_term(samples, torch.full((1,), error), n_atoms, power=power)
            (gradient,) = torch.autograd.grad(term.sum(), samples)
            assert float(gradient.sum()) == pytest.approx(0.0, abs=1e-12)
            size = scale if power == 2 else 0.5  # dL/ds of samples s apart is half of it at either end
            torch.testing.assert_close(gradient, pull * size * deviations / scale / 2.0, rtol=1e-4, atol=1e-4)


def test_heads_begin_apart_on_one_trunk(setting: Setting) -> None:
    model, batch = setting
    lengths = {len(parameter) for parameter in model.parameters()}
    assert lengths == {1, 3} and model.shared_trunk
    forces = predict(model, batch).forces
    assert float(forces.std(dim=0).min()) > 0.0


def test_a_continued_run_repeats_the_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = labelled_water(12)
    one = train(tiny_config(tmp_path, images, "one", **HEADS), progress=False)
    with power_cut(monkeypatch):
        train(tiny_config(tmp_path, images, "two", **HEADS), progress=False)
    two = train(tiny_config(tmp_path, images, "two", **HEADS), resume=True, progress=False)
    assert history(tmp_path / "two") == history(tmp_path / "one")
    for name, tensor in member_state(one.model).items():
        assert torch.equal(member_state(two.model)[name], tensor)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a training that is long enough to learn the spread, with its file."""
    folder = tmp_path_factory.mktemp("heads")
    config = tiny_config(
        folder,
        labelled_water(25),  # an odd number has one median, which the shifts are fitted to
        data={"valid_fraction": 0.0},
        optimiser={"epochs": 60, "learning_rate": 0.02},
        **HEADS,
    )
    train(config, progress=False)
    return folder


def test_the_spread_is_learnt(run: Path) -> None:
    """Of forces within a factor of three of the errors; without the term it stays 70 times away."""
    frames = evaluate_file(run / "run" / "model.pt", run / "frames.xyz")
    errors = np.concatenate([(f.forces.mean(0) - f.frame.forces).ravel() for f in frames])
    variances = np.concatenate([f.forces_variance.ravel() for f in frames])
    assert 1 / 3 < np.sqrt(np.mean(errors**2) / np.mean(variances)) < 3


def test_shifts_leave_the_spread_alone(run: Path) -> None:
    """They are refitted for the mean: its errors have a median of zero, those of heads do not."""
    frames = evaluate_file(run / "run" / "model.pt", run / "frames.xyz")
    energies = np.array([f.energies - f.frame.energy for f in frames])
    shifts = load_members(run / "run").atomic_shifts
    assert torch.allclose(shifts, shifts[:1].expand_as(shifts))
    assert abs(np.median(energies.mean(axis=1))) < 1e-3 * np.abs(energies).max()
    assert np.abs(np.median(energies, axis=0)).max() > 1e-2 * np.abs(energies).max()


def test_the_file_is_calibrated_and_has_no_posterior(run: Path, tmp_path: Path) -> None:
    model = run / "run" / "model.pt"
    assert load_artefact(model).shared_trunk
    ase.io.write(tmp_path / "held.xyz", labelled_water(30, seed=5), format="extxyz")
    found = calibrate_file(model, tmp_path / "held.xyz", tmp_path / "calibrated.pt")
    assert found.scores["forces"].after["nll"] < found.scores["forces"].before["nll"] + 0.5
    with pytest.raises(ValueError, match=r"model.pt: its members are heads on one trunk, none of which"):
        make_posterior(model, run / "frames.xyz", tmp_path / "samples.pt")


def test_a_warm_start_keeps_the_trunk(run: Path, tmp_path: Path) -> None:
    """Also with fewer heads; members with a trunk each begin from no heads, nor the other way round."""
    images = labelled_water(8)
    fewer = HEADS | {"committee": {"n_members": 2}}
    model, _ = warm_start(tiny_config(tmp_path, images, **fewer), run / "run" / "model.pt")
    assert model.shared_trunk and model.n_members == 2
    kept = member_state(load_members(run / "run"))
    for name, tensor in member_state(model).items():
        assert torch.equal(tensor, kept[name][: len(tensor)])
    with pytest.raises(ValueError, match="shared_trunk is False here, True there"):
        warm_start(tiny_config(tmp_path, images), run / "run")


@pytest.mark.parametrize(
    "sections, words",
    [
        ({"committee": {"n_members": 1}}, "committee.n_members: 1"),
        ({"committee": {"training": "parallel"}}, "committee.training: parallel"),
        ({"committee": {"bootstrap": True}}, "committee.bootstrap"),
        ({"pretrain": {}}, "pretrain"),
        ({"loss": {"mollifier": {}}}, "loss.mollifier"),
    ],
)
def test_what_does_not_go_together_is_refused(sections: dict[str, object], words: str) -> None:
    values = {"data": {"train": "x"}, "uncertainty": {"kinds": ["heads"]}}
    with pytest.raises(ValueError, match=f"^train.yaml: 'uncertainty.kinds' is heads, which does not go with {words}$"):
        validated(TrainConfig, values | sections, "train.yaml")
