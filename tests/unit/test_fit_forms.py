"""The forms of the mollified term through the fit: they train, continue, and leave members apart."""

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield_train.config import LossConfig, TrainConfig, validated
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import frames_from_atoms
from mollifield_train.predict import predict
from mollifield_train.training.denoiser import denoiser_of
from mollifield_train.training.loading import load_data
from mollifield_train.training.members import build_potential, read_members
from mollifield_train.training.objective import Objective
from mollifield_train.training.run import train

from .fitting import history, labelled_water, later_export, no_export, power_cut_in_an_epoch, tiny_config  # noqa: F401  (fixtures)

SPRINGS = {"kind": "springs"}
FORMS = {
    "residual": {"form": "residual"},
    "taylor": {"form": "taylor"},
    "taylor_springs": {"form": "taylor", "prior": SPRINGS},
    "difference": {"form": "difference", "prior": SPRINGS},
    "hvp": {"form": "hvp", "prior": SPRINGS},
    "teacher": {"form": "teacher"},
    "denoise": {"form": "denoise"},
    "adaptive": {"form": "gradient", "share": 0.2, "schedule": "linear"},
}


@pytest.fixture(scope="module")
def images():
    return labelled_water(16)


def same_weights(one, other, tolerance=1e-9):
    """float64: only the order of summation may differ."""
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], rtol=tolerance, atol=tolerance)


def in_parts(config, monkeypatch, enough=4):
    """A run that is cut off in the middle of an epoch of three steps, then continued."""
    with power_cut_in_an_epoch(monkeypatch, enough):
        train(config, progress=False)
    return train(config, resume=True, progress=False)


@pytest.mark.parametrize("name", FORMS)
def test_interrupted_run_equals_the_uninterrupted(tmp_path, images, monkeypatch, name):
    options = {"loss": {"mollifier": FORMS[name] | {"every": 2, "fraction": 0.5}}, "committee": {"bootstrap": True}}
    if name == "adaptive":
        options["optimiser"] = {"sam": 0.02}
    whole = train(tiny_config(tmp_path, images, "whole", **options), progress=False)
    parts = in_parts(tiny_config(tmp_path, images, "parts", **options), monkeypatch)
    same_weights(parts.model, whole.model)
    rows = history(whole.directory)
    assert all(row["train_mollifier"] > 0.0 for row in rows)
    for found, expected in zip(history(parts.directory), rows, strict=True):
        assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("name", ["taylor_springs", "teacher", "denoise", "adaptive"])
def test_together_equals_one_by_one(tmp_path, images, name):
    options = {"loss": {"mollifier": FORMS[name] | {"every": 1}}, "optimiser": {"sam": 0.02}}
    results = [
        train(tiny_config(tmp_path, images, way, committee={"training": way}, **options), progress=False)
        for way in ("together", "one_by_one")
    ]
    same_weights(results[0].model, results[1].model)


@pytest.mark.parametrize("backend", ["e3nn", "native"])
def test_guess_of_a_displacement_turns_with_the_frame(tmp_path, images, backend):
    config = tiny_config(tmp_path, images, model={"backend": backend}, loss={"mollifier": {"form": "denoise"}})
    data = load_data(config)
    model = build_potential(config, data.statistics, 0, 2)
    denoiser = denoiser_of(config.loss.mollifier, model, data.training, 1.0, [0, 1])
    rng = np.random.default_rng(0)
    steps = torch.from_numpy(rng.normal(scale=0.1, size=(2, 6, 3)))
    turn = torch.from_numpy(np.linalg.qr(rng.normal(size=(3, 3)))[0])

    def guess(atoms, displacements):
        graphs = build_graphs(frames_from_atoms(atoms, "test"), model.species, model.r_max)
        return denoiser(model, collate(graphs), displacements)

    turned = [image.copy() for image in images[:2]]
    for new, old in zip(turned, images, strict=False):
        new.positions = old.positions @ turn.numpy()
        new.calc = SinglePointCalculator(new, energy=0.0, forces=old.get_forces() @ turn.numpy())
    here = guess(images[:2], steps)
    assert here.shape == (2, 2, 6, 3) and (here.abs() > 1e-3).any(dim=-1).all()
    torch.testing.assert_close(guess(turned, steps @ turn), here @ turn)


def test_denoise_learns_and_leaves_nothing_behind(tmp_path, images):
    """Better than no guess, which errs by 2/3 (of three atoms, less their mean); kept are a plain model's weights."""
    term = {"form": "denoise", "every": 1, "weight": 1.0, "width": 0.1, "samples": 4, "fraction": 1.0}
    options = {"forces": 0.0, "energy": 1e-6}, {"epochs": 30, "learning_rate": 0.02}
    config = tiny_config(tmp_path, images, "run", loss={"mollifier": term} | options[0], optimiser=options[1])
    result = train(config, progress=False)
    rows = history(result.directory)
    assert rows[-1]["train_mollifier"] < 0.5
    plain = train(tiny_config(tmp_path, images, "plain", optimiser={"epochs": 1}), progress=False)
    assert set(read_members(result.directory).model.state_dict()) == set(plain.model.state_dict())
    warm = tiny_config(tmp_path, images, "warm", loss={"mollifier": term}, initial=str(result.directory))
    assert history(train(warm, progress=False).directory)[0]["train_mollifier"] > 0.0


def test_weight_decay_shrinks_weights(tmp_path, images):
    norms = []
    for decay in (None, 1.0):
        config = tiny_config(tmp_path, images, f"decay{decay}", optimiser={"weight_decay": decay})
        norms.append(sum(p.square().sum() for p in train(config, progress=False).model.parameters()))
    assert norms[1] < 0.95 * norms[0]


def test_difference_teaches_the_priors_stiffness(tmp_path, images):
    """Beside energies alone, which say little of it: how far changes of the forces are from those of the springs."""
    term = FORMS["difference"] | {"every": 1}
    found = []
    for weight in (0.0, 1000.0):
        options = {
            "loss": {"mollifier": term | {"weight": weight}, "forces": 0.0},
            "optimiser": {"epochs": 20, "learning_rate": 0.02},
            "data": {"valid_fraction": 0.0},  # the last weights are kept, not those with the best energies
        }
        config = tiny_config(tmp_path, images, f"weight{weight}", **options)
        model = train(config, progress=False).model
        data = load_data(config)
        objective = Objective(validated(LossConfig, {"mollifier": term}, "test"), 1.0, 0, data.training)
        batch = collate(data.training)
        found.append(objective.mollifier_loss(model, batch, predict(model, batch, create_graph=True), 0, 0.0))
    assert (found[1] < 0.5 * found[0]).all()


@pytest.mark.parametrize(
    ("mollifier", "more", "message"),
    [
        ({"form": "difference"}, {}, r"key 'loss\.mollifier\.prior' is missing"),
        ({"form": "curl"}, {}, r"key 'loss\.mollifier\.form'.*'gradient' or 'residual' or .*found 'curl'"),
        ({"form": "hvp", "prior": {"kind": "xtb"}}, {}, r"'loss\.mollifier\.prior\.kind'.*'springs'.*found 'xtb'"),
        ({"form": "hvp", "prior": {"method": "GFN1-xTB"}}, {}, r"unknown key 'loss\.mollifier\.prior\.method'"),
        ({"form": "taylor", "forces": 0, "energy": 0}, {}, "'forces' and 'energy' are both 0: nothing is left"),
        ({"form": "residual", "nodes": 3}, {}, r"unknown key 'loss\.mollifier\.nodes'"),
        ({"form": "teacher"}, {"optimiser": {"ema_decay": 0}}, "'optimiser.ema_decay' is 0: there is none"),
        (
            {"form": "teacher", "towards": "committee"},
            {"committee": {"training": "one_by_one"}},
            "its members must be trained together, two or more",
        ),
    ],
)
def test_mistakes_are_named(mollifier, more, message):
    values = {"data": {"train": "a.xyz"}, "loss": {"mollifier": mollifier}} | more
    with pytest.raises(ValueError, match=message):
        validated(TrainConfig, values, "config.yaml")
