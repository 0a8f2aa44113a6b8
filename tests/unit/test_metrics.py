"""One measure, whoever asks for it: running sums in training, summaries of frames, scores of the loop."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mollifield_train import metrics
from mollifield_train.active.scores import summarise
from mollifield_train.data.batches import collate
from mollifield_train.evaluate import committee_errors
from mollifield_train.predict import predict
from mollifield_train.training.error_sums import ErrorSums
from mollifield_train.training.loading import load_data
from mollifield_train.training.members import build_potential

from .fitting import labelled_water, tiny_config


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory):
    """Ten periodic frames and an untrained committee of two."""
    config = tiny_config(tmp_path_factory.mktemp("metrics"), labelled_water(10, box=5.0), data={"valid_fraction": 0.0})
    data = load_data(config)
    return data.training, build_potential(config, data.statistics, 0, 2)


def test_training_and_evaluation_measure_alike(committee):
    graphs, model = committee
    sums = ErrorSums(2)
    for start in (0, 4):  # batches of different sizes
        batch = collate(graphs[start : start + 4 + start])
        sums.add(predict(model, batch, virials=True), batch, torch.tensor([1.0, 3.0]))
    row = sums.row("train")
    summary = metrics.error_summary(committee_errors(model, graphs, 3, "cpu"))
    assert len(graphs) == 10 and row.pop("train_loss") == pytest.approx(2.0)
    assert len(row) == 3
    for quantity in metrics.UNITS:
        running = row["train_" + metrics.key_of(quantity, "rmse")]
        assert running == pytest.approx(summary[metrics.key_of(quantity, "rmse_members")], rel=1e-9)
        mean, std = summary[metrics.key_of(quantity, "rmse")], summary[metrics.key_of(quantity, "std")]
        assert running**2 == pytest.approx(mean**2 + std**2 / 2, rel=1e-9)  # of two members; ddof = 1


def test_evaluation_and_the_loop_measure_alike(committee):
    graphs, model = committee
    found = committee_errors(model, graphs, 10, "cpu")
    labels = [graph.frame for graph in graphs]
    arrays = {
        "n_atoms": np.array([frame.n_atoms for frame in found]),
        "energy": np.array([frame.energies.mean() for frame in found]),
        "energy_reference": np.array([frame.energy for frame in labels]),
        "forces": np.concatenate([frame.forces.mean(axis=0) for frame in found]),
        "forces_reference": np.concatenate([frame.forces for frame in labels]),
        "forces_std": np.zeros(30),
    }
    scores, summary = summarise(arrays), metrics.error_summary(found)
    assert 1000 * scores["force_rmse"] == pytest.approx(summary["forces_rmse_mev_per_A"], rel=1e-9)
    assert 1000 * scores["energy_rmse_per_atom"] == pytest.approx(summary["energy_rmse_mev_per_atom"], rel=1e-9)


def test_the_loop_needs_no_torch_to_measure(tmp_path):
    """A torch that cannot be imported comes first on the path."""
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-c", "import mollifield_train.metrics, mollifield_train.same_run"]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=True, timeout=120)


def test_measures():
    deviations = np.array([1.0, 2.0, -3.0, 4.0])
    assert metrics.rmse(deviations) == pytest.approx(np.sqrt(7.5))
    assert metrics.mae(deviations) == 2.5 and metrics.offset(deviations) == 1.0
    assert metrics.rmse_without_offset(deviations) == pytest.approx(np.sqrt(6.5))
    errors, stds = np.array([1.0, 3.0]), np.array([2.0, 2.0])
    assert metrics.coverage(errors, stds) == 0.5 and metrics.ratio(errors, stds) == pytest.approx(np.sqrt(1.25))
    assert metrics.key_of("stress", "mae") == "stress_mae_mev_per_A3"
