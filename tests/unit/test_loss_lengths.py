"""The terms that sum lengths of errors, against the formula written out in numpy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mollifield_train.config import LossConfig, validated
from mollifield_train.loss import lengths

M, SIZES = 3, [2, 5, 1]
N_ATOMS = torch.tensor(SIZES)
FRAME_OF_ATOM = torch.arange(len(SIZES)).repeat_interleave(N_ATOMS)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def test_terms_equal_the_formula() -> None:
    predicted_e, e = random(M, len(SIZES)), random(len(SIZES))
    predicted_f, f = random(M, sum(SIZES), 3), random(sum(SIZES), 3)
    energy = lengths.energy_term(predicted_e, e, N_ATOMS)
    forces = lengths.force_term(predicted_f, f, FRAME_OF_ATOM, N_ATOMS)
    for m in range(M):
        expected = np.mean(np.abs((predicted_e[m] - e).numpy()) / SIZES)
        assert energy[m] == pytest.approx(expected, abs=2 * lengths.SOFT)
        errors, of = np.linalg.norm((predicted_f[m] - f).numpy(), axis=1), FRAME_OF_ATOM.numpy()
        expected = np.mean([errors[of == k].mean() for k in range(len(SIZES))])
        assert forces[m] == pytest.approx(expected, abs=2 * lengths.SOFT)


def test_forces_turn_with_the_frame() -> None:
    predicted, reference = random(M, sum(SIZES), 3), random(sum(SIZES), 3)
    turned = torch.from_numpy(Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix())
    term = lengths.force_term(predicted, reference, FRAME_OF_ATOM, N_ATOMS)
    other = lengths.force_term(predicted @ turned, reference @ turned, FRAME_OF_ATOM, N_ATOMS)
    torch.testing.assert_close(other, term, rtol=1e-13, atol=0.0)


def test_only_labelled_frames_count_and_weights_act_on_one_member() -> None:
    predicted_e, e = random(M, len(SIZES)), random(len(SIZES))
    labelled = torch.tensor([True, False, True])
    e[~labelled] = 1e6
    term = lengths.energy_term(predicted_e, e, N_ATOMS, labelled=labelled)
    torch.testing.assert_close(term, lengths.energy_term(predicted_e[:, labelled], e[labelled], N_ATOMS[labelled]))
    weights = torch.ones(M, len(SIZES), dtype=torch.float64)
    weights[1, 2] = 3.0
    weighted = lengths.energy_term(predicted_e, e, N_ATOMS, weights, labelled)
    extra = 2.0 * abs(float(predicted_e[1, 2] - e[2])) / SIZES[2] / 2
    torch.testing.assert_close(weighted - term, torch.tensor([0.0, extra, 0.0], dtype=torch.float64), atol=1e-5, rtol=0)


def test_stress_is_the_norm_of_the_matrix() -> None:
    predicted, reference = random(M, 3, 3, 3), random(3, 3, 3)
    has_stress, scale = torch.tensor([True, False, True]), torch.tensor([2.0, 5.0, 3.0])
    term = lengths.stress_term(predicted, reference, has_stress, scale=scale)
    norms = np.linalg.norm((predicted - reference).numpy() * scale[:, None, None].numpy(), axis=(2, 3))
    np.testing.assert_allclose(term, norms[:, [0, 2]].mean(axis=1), atol=2 * lengths.SOFT)


def test_no_error_has_no_slope() -> None:
    predicted = torch.zeros(1, sum(SIZES), 3, dtype=torch.float64, requires_grad=True)
    term = lengths.force_term(predicted, predicted.detach()[0], FRAME_OF_ATOM, N_ATOMS)
    (slope,) = torch.autograd.grad(term.sum(), predicted)
    assert float(term.detach()) == 0.0
    assert float(slope.abs().max()) == 0.0


def test_weights_by_default() -> None:
    found = validated(LossConfig, {"measure": "lengths", "forces": 3.0}, "test")
    assert (found.energy, found.forces) == (10.0, 3.0)
    assert (LossConfig().energy, LossConfig().forces) == (1.0, 1000.0)
    assert LossConfig.model_validate(found.model_dump()) == found
