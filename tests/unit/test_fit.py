"""The fit: derivatives, members apart, continued runs, warm starts, clear refusals."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mollifield import load_artefact
from mollifield_train.config import LossConfig, TrainConfig, validated
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import frames_from_atoms
from mollifield_train.predict import displaced_surface, predict, stress
from mollifield_train.tensor_file import read_tensors, write_tensors
from mollifield_train.training.frame_weights import bootstrap_weights
from mollifield_train.training.loading import load_data
from mollifield_train.training.member_gradients import clip_members
from mollifield_train.training.members import build_potential, load_members
from mollifield_train.training.objective import Objective
from mollifield_train.training.run import export_run, train
from mollifield_train.training.run_directory import CONFIG_FILE, LAST_CHECKPOINT

from .fitting import history, labelled_water, later_export, no_export, power_cut_in_an_epoch, tiny_config, with_export  # noqa: F401  (fixtures)

MOLLIFIER = {"mollifier": {"weight": 0.01, "width": 0.1, "samples": 1}}


@pytest.fixture(scope="module")
def images():
    return labelled_water(16)


def same_weights(one, other, tolerance=1e-9):
    """float64: only the order of summation may differ, here or there in a batched product."""
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], rtol=tolerance, atol=tolerance)


def test_forces_and_stress_are_derivatives_of_the_energy(tmp_path):
    config = tiny_config(tmp_path, labelled_water(4, box=3.4), data={"valid_fraction": 0.0})
    data = load_data(config)
    model = build_potential(config, data.statistics, 0, 2)
    batch = collate(data.training)
    prediction = predict(model, batch, virials=True)
    step = 1e-5

    def energies(deform):
        frames = []
        for atoms in labelled_water(4, box=3.4):
            atoms_calc, atoms.calc = atoms.calc, None
            deform(atoms)
            atoms_calc.atoms = atoms.copy()
            atoms.calc = atoms_calc
            frames.append(atoms)
        graphs = build_graphs(frames_from_atoms(frames, "memory"), model.species, config.model.r_max)
        return predict(model, collate(graphs)).energies

    def slope(deform):
        return (energies(lambda a: deform(a, step)) - energies(lambda a: deform(a, -step))) / (2 * step)

    def move(atoms, by):
        atoms.positions[1, 2] += by

    forces = torch.stack([prediction.forces[:, 3 * k + 1, 2] for k in range(4)], dim=1)
    torch.testing.assert_close(-slope(move), forces, rtol=1e-6, atol=1e-7)

    def strain(atoms, by):
        matrix = np.eye(3)
        matrix[0, 1] += by / 2
        matrix[1, 0] += by / 2
        atoms.set_cell(atoms.cell.array @ matrix, scale_atoms=True)

    expected = slope(strain) / batch.volumes
    torch.testing.assert_close(stress(prediction, batch)[:, :, 0, 1], expected, rtol=1e-6, atol=1e-9)


def test_displaced_gradient_finds_new_neighbours(tmp_path):
    """A displacement of half a cell brings other atoms into reach."""
    config = tiny_config(tmp_path, labelled_water(3), data={"valid_fraction": 0.0})
    data = load_data(config)
    model = build_potential(config, data.statistics, 0, 2)
    batch = collate(data.training)
    displacements = torch.zeros(2, 9, 3, dtype=torch.float64)
    displacements[0, 1] = torch.tensor([2.6, 0.3, -0.2])
    displacements[1, 4:6] = torch.tensor([-0.4, 0.9, 2.1])
    found = displaced_surface(model, batch)(displacements).gradient
    for k, displacement in enumerate(displacements):
        moved = labelled_water(3)
        for n, atoms in enumerate(moved):
            atoms.calc = None
            own = displacement[3 * n : 3 * n + 3].numpy()
            atoms.positions = data.training[n].frame.positions + own
            atoms.info["energy"] = 0.0
            atoms.arrays["forces"] = np.zeros((3, 3))
        graphs = build_graphs(frames_from_atoms(moved, "memory"), model.species, config.model.r_max)
        forces = predict(model, collate(graphs)).forces
        torch.testing.assert_close(found[:, k], -forces, rtol=1e-12, atol=1e-12)


def test_scaled_units_are_the_physical_loss_in_other_units(tmp_path, images):
    config = tiny_config(tmp_path, images)
    data = load_data(config)
    model = build_potential(config, data.statistics, 0, 2)
    batch = collate(data.training)
    prediction = predict(model, batch, create_graph=True)
    rms, length = data.statistics.force_scale, 0.5

    def objective(**values):
        return Objective(validated(LossConfig, values, "test"), rms, seed=1)

    term = {"weight": 10.0, "width": 0.3}
    scaled = objective(energy=1.0, forces=5.0, units="scaled", length_scale=length, mollifier=term)
    physical = objective(
        energy=1.0 / (rms * length) ** 2,
        forces=5.0 / rms**2,
        mollifier={"weight": 10.0 / rms**2, "width": 0.3 * length},
    )
    torch.testing.assert_close(scaled.data_loss(prediction, batch), physical.data_loss(prediction, batch))
    torch.testing.assert_close(
        scaled.mollifier_loss(model, batch, prediction, 0, 0.0),
        physical.mollifier_loss(model, batch, prediction, 0, 0.0),
    )


def test_every_kth_step_counts_k_times(tmp_path, images):
    config = tiny_config(tmp_path, images)
    data = load_data(config)
    model = build_potential(config, data.statistics, 0, 2)
    batch = collate(data.training[:3])
    prediction = predict(model, batch, create_graph=True)
    always, sometimes = (Objective(validated(LossConfig, {"mollifier": {"every": k}}, "test"), 1.0, 0) for k in (1, 3))
    values = [sometimes.mollifier_loss(model, batch, prediction, step, 0.0) for step in range(4)]
    assert values[1] is None and values[2] is None
    for step in (0, 3):
        torch.testing.assert_close(values[step], 3.0 * always.mollifier_loss(model, batch, prediction, step, 0.0))


def test_gradients_are_clipped_member_by_member():
    parameters = [torch.zeros(2, 3), torch.zeros(2, 2, 2)]
    for p in parameters:
        p.grad = torch.ones_like(p)
        p.grad[1] *= 100.0
    clip_members(parameters, 3.0)
    assert torch.equal(parameters[0].grad[0], torch.ones(3))  # norm sqrt(7) is allowed
    norm = torch.sqrt(parameters[0].grad[1].square().sum() + parameters[1].grad[1].square().sum())
    assert norm.item() == pytest.approx(3.0, rel=1e-5)


@pytest.mark.parametrize("bootstrap", [False, True])
def test_together_equals_one_by_one(tmp_path, images, bootstrap):
    results = [
        train(
            tiny_config(
                tmp_path, images, name=way, loss=MOLLIFIER, committee={"training": way, "bootstrap": bootstrap}
            ),
            progress=False,
        )
        for way in ("together", "one_by_one")
    ]
    same_weights(results[0].model, results[1].model)
    assert results[0].metrics["valid"] == pytest.approx(results[1].metrics["valid"], rel=1e-7)
    weights = results[0].model.readout.weight_1
    assert (weights[0] - weights[1]).abs().max() > 0.1  # the members are not copies


def test_bootstrap_draws_with_replacement():
    weights = bootstrap_weights(200, seed=3)
    assert weights.sum() == 200
    assert 0.3 < (weights == 0).mean() < 0.44  # 1/e of the frames are left out
    assert not np.array_equal(weights, bootstrap_weights(200, seed=4))


@pytest.mark.usefixtures("with_export")
def test_training_learns_and_exports(tmp_path, images):
    config = tiny_config(tmp_path, images, optimiser={"epochs": 60, "learning_rate": 0.02})
    result = train(config, progress=False)
    rows = history(result.directory)
    assert len(rows) == 60
    first, last = (rows[k]["valid_forces_rmse_mev_per_A"] for k in (0, -1))
    assert last < 0.5 * first
    artefact = load_artefact(result.directory / "model.pt")
    assert artefact.n_members == 2 and artefact.species == ["H", "O"]
    assert artefact.summary["metrics"]["n_train"] == 14
    assert len(artefact.latent_space["types"]) == 42  # every atom of 14 frames of water
    same_weights(load_members(result.directory), result.model, 0.0)
    assert (result.directory / "tensorboard").is_dir()


def test_stress_term_lowers_the_stress_error(tmp_path):
    images = labelled_water(12, box=6.0)
    errors = []
    for weight in (0.0, 3e7):
        config = tiny_config(
            tmp_path,
            images,
            name=f"stress{weight}",
            optimiser={"epochs": 25, "learning_rate": 0.02},
            loss={"stress": weight, "forces": 0.0, "energy": 0.0} if weight else {"forces": 0.0},
        )
        errors.append(train(config, progress=False).metrics["train"]["stress_rmse_mev_per_A3"])
    assert errors[1] < 0.7 * errors[0]


def test_shifts_are_refitted_to_what_training_leaves(tmp_path, images):
    """One composition: half of each member's energy errors lie on either side of zero."""
    config = tiny_config(tmp_path, images, optimiser={"epochs": 1})
    result = train(config, progress=False)
    data = load_data(config, result.model)
    batch = collate(data.training)
    errors = predict(result.model, batch).energies - batch.energies
    for sign in (1, -1):
        assert ((sign * errors > 1e-4).sum(dim=1) <= errors.shape[1] / 2).all()
    given = tiny_config(tmp_path, images, "given", model={"shifts": {"H": -1.0, "O": -8.0}}, optimiser={"epochs": 1})
    assert train(given, progress=False).model.atomic_shifts.tolist() == [[-1.0, -8.0]] * 2


@pytest.mark.parametrize("way", ["together", "one_by_one"])
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_interrupted_run_equals_the_uninterrupted(tmp_path, images, monkeypatch, schedule, way):
    """Stopped after an epoch and in the middle of another, then continued."""
    options = {
        "loss": {"mollifier": {"weight": 0.01, "every": 4, "schedule": "linear", "fraction": 0.5}},
        "optimiser": {"schedule": schedule, "epochs": 6, "patience": 6},
        "committee": {"training": way, "bootstrap": True},
    }
    if schedule == "plateau":  # steps so long that the rate is cut within the first epochs
        options["optimiser"] |= {"learning_rate": 1.0, "ema_decay": 0.0, "patience": 5}
    whole = train(tiny_config(tmp_path, images, "whole", **options), progress=False)
    config = tiny_config(tmp_path, images, "parts", **options)

    for steps_before_the_end in (4, 5):  # three steps an epoch: in the middle of the second, ...
        with power_cut_in_an_epoch(monkeypatch, steps_before_the_end):
            train(config, resume=True, progress=False)
    parts = train(config, resume=True, progress=False)

    same_weights(parts.model, whole.model)
    if way == "together":
        rows = history(whole.directory)
        for found, expected in zip(history(parts.directory), rows, strict=True):
            assert found == pytest.approx(expected, rel=1e-8)
        assert rows[-1]["learning_rate"] < options["optimiser"].get("learning_rate", 0.005)


def test_killed_process_is_continued(tmp_path, images):
    """kill -9 somewhere after the first checkpoint."""
    options = {"optimiser": {"epochs": 30}, "loss": MOLLIFIER}
    whole = train(tiny_config(tmp_path, images, "whole", **options), progress=False)
    config = tiny_config(tmp_path, images, "killed", **options)
    path = tmp_path / "killed.yaml"
    path.write_text(config.model_dump_json())  # JSON is YAML
    command = [sys.executable, "-m", "mollifield_train.cli", "train", str(path)]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    checkpoint = Path(config.directory) / LAST_CHECKPOINT
    try:
        while not checkpoint.is_file():
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    assert read_tensors(checkpoint)["epoch"] < 30
    same_weights(train(config, resume=True, progress=False).model, whole.model)


def test_patience_ends_a_run(tmp_path, images):
    config = tiny_config(
        tmp_path, images, optimiser={"epochs": 50, "patience": 3, "learning_rate": 1e-300, "ema_decay": 0.0}
    )
    result = train(config, progress=False)
    epochs = result.metrics["epochs"][0]
    assert epochs < 50
    assert len(history(result.directory)) == epochs
    again = train(config, resume=True, progress=False)  # over is over
    assert again.metrics["epochs"] == [epochs]


def test_one_frame_trains_without_validation(tmp_path):
    result = train(tiny_config(tmp_path, labelled_water(1)), progress=False)
    assert result.metrics["n_valid"] == 0 and "valid" not in result.metrics


def test_loss_that_is_not_finite_names_the_step(tmp_path, images):
    config = tiny_config(tmp_path, images, optimiser={"learning_rate": 1e200, "gradient_clip": None, "ema_decay": 0.0})
    with pytest.raises(ValueError, match=r"loss is not finite at epoch 1, step \d \(members 0, 1; frame"):
        train(config, progress=False)


def test_warm_start_takes_weights_and_shifts(tmp_path, images):
    first = train(tiny_config(tmp_path, images, "first"), progress=False)
    frozen = {"epochs": 1, "learning_rate": 1e-12, "ema_decay": 0.0}
    second = train(tiny_config(tmp_path, images, "second", optimiser=frozen), initial=first.directory, progress=False)
    same_weights(second.model, first.model, 1e-8)


def test_warm_start_refuses_what_does_not_fit(tmp_path, images):
    first = train(tiny_config(tmp_path, images, "first", optimiser={"epochs": 1}), progress=False)
    other = tiny_config(tmp_path, images, "second", model={"n_channels": 5})
    with pytest.raises(ValueError, match=r"model\.n_channels is 5 here, 4 there"):
        train(other, initial=first.directory, progress=False)
    three = tiny_config(tmp_path, images, "third", committee={"n_members": 3})
    with pytest.raises(ValueError, match=r"committee\.n_members is 3 here, 2 there"):
        train(three, initial=first.directory, progress=False)
    with pytest.raises(ValueError, match="holds no trained members"):
        train(tiny_config(tmp_path, images, "fourth"), initial=tmp_path, progress=False)


def test_run_of_another_config_is_not_continued(tmp_path, images):
    config = tiny_config(tmp_path, images, optimiser={"epochs": 1})
    train(config, progress=False)
    with pytest.raises(ValueError, match="holds a run already .* --resume"):
        train(config, progress=False)
    longer = tiny_config(tmp_path, images, optimiser={"epochs": 2})
    with pytest.raises(ValueError, match=r"another config: optimiser\.epochs was 1, is 2"):
        train(longer, resume=True, progress=False)
    last = Path(config.directory) / LAST_CHECKPOINT
    of_before = read_tensors(last)  # there was Adam alone, and messages as they come
    del of_before["config"]["optimiser"]["method"], of_before["config"]["model"]["rms_norm"]
    write_tensors(last, of_before)
    different = r"another config: model\.rms_norm was False, is True; optimiser\.method was adam, is muon$"
    with pytest.raises(ValueError, match=different):
        train(config, resume=True, progress=False)
    last.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(ValueError, match=r"last\.ckpt: truncated or damaged"):
        train(config, resume=True, progress=False)


def test_unfinished_run_is_exported(tmp_path, images, exporting):
    config = tiny_config(tmp_path, images, optimiser={"epochs": 2})
    result = train(config, progress=False)
    (result.directory / "members.pt").unlink()
    exporting()
    export_run(result.directory, tmp_path / "exported.pt")
    assert load_artefact(tmp_path / "exported.pt").n_members == 2
    with pytest.raises(ValueError, match="holds no trained members"):
        export_run(tmp_path, tmp_path / "x.pt")


def test_config_is_written_with_the_run(tmp_path, images):
    config = tiny_config(tmp_path, images, optimiser={"epochs": 1})
    train(config, progress=False)
    from mollifield_train.config import load_train_config

    again = load_train_config(Path(config.directory) / CONFIG_FILE)
    assert isinstance(again, TrainConfig) and again == config


def test_stress_weight_without_stress_is_an_error(tmp_path, images):
    config = tiny_config(tmp_path, images, loss={"stress": 1.0})
    with pytest.raises(ValueError, match=r"loss\.stress is 1\.0, but no training frame .* has a stress"):
        train(config, progress=False)


def test_energies_weigh_more_in_the_last_part(tmp_path, images):
    """Training is the same until then; validation, which chooses the best weights, has one loss all along."""
    runs = {}
    for name, final in (("plain", None), ("staged", 100.0)):
        loss = {"mollifier": None, "final_energy": final}
        runs[name] = history(
            train(tiny_config(tmp_path, images, name, loss=loss, optimiser={"epochs": 10}), progress=False).directory
        )
    plain, staged = ([row["train_forces_rmse_mev_per_A"] for row in runs[name]] for name in ("plain", "staged"))
    assert staged[:7] == plain[:7]
    assert all(a != b for a, b in zip(staged[8:], plain[8:], strict=True))
    heavier = [row["valid_loss"] - runs["plain"][k]["valid_loss"] for k, row in enumerate(runs["staged"][:7])]
    assert all(difference > 0.0 for difference in heavier)
