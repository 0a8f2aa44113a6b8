"""Energy, force and stress terms against the formula written out in numpy."""

import numpy as np
import pytest
import torch

from mollifield_train.loss import energy_force

M, B, N = 3, 4, 5


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def test_terms_equal_the_formula_where_all_frames_have_n_atoms():
    predicted_e, e = random(M, B), random(B)
    predicted_f, f = random(M, B * N, 3), random(B * N, 3)
    frame_of_atom = torch.arange(B).repeat_interleave(N)
    energy = energy_force.energy_term(predicted_e, e)
    forces = energy_force.force_term(predicted_f, f, frame_of_atom, torch.full((B,), N))
    for m in range(M):
        assert energy[m] == pytest.approx(np.sum((predicted_e[m] - e).numpy() ** 2) / B, rel=1e-12)
        expected = np.sum((predicted_f[m] - f).numpy() ** 2) / (3 * B * N)
        assert forces[m] == pytest.approx(expected, rel=1e-12)


def test_each_frame_counts_the_same_whatever_its_size():
    n_atoms = torch.tensor([1, 4])
    frame_of_atom = torch.tensor([0, 1, 1, 1, 1])
    predicted = torch.zeros(1, 5, 3, dtype=torch.float64)
    reference = torch.zeros(5, 3, dtype=torch.float64)
    reference[0, 0] = 2.0  # 4 / 3 in the frame of one atom
    reference[1, 2] = 3.0  # 9 / 12 in the frame of four
    term = energy_force.force_term(predicted, reference, frame_of_atom, n_atoms)
    assert term[0] == pytest.approx((4 / 3 + 9 / 12) / 2, rel=1e-14)


def test_stress_counts_labelled_frames_only():
    predicted, reference = random(M, B, 3, 3), random(B, 3, 3)
    has_stress = torch.tensor([True, False, True, False])
    reference[~has_stress] = 1e6
    term = energy_force.stress_term(predicted, reference, has_stress)
    expected = ((predicted - reference)[:, [0, 2]] ** 2).sum(dim=(1, 2, 3)) / (9 * 2)
    torch.testing.assert_close(term, expected, rtol=1e-13, atol=0.0)
    nothing = energy_force.stress_term(predicted, reference, torch.zeros(B, dtype=torch.bool))
    assert nothing.tolist() == [0.0] * M


def test_weights_act_on_one_member_and_frame():
    predicted, reference = random(M, B), random(B)
    weights = torch.ones(M, B, dtype=torch.float64)
    weights[1, 2] = 3.0
    change = energy_force.energy_term(predicted, reference, weights) - energy_force.energy_term(predicted, reference)
    expected = 2.0 * (predicted[1, 2] - reference[2]) ** 2 / B
    torch.testing.assert_close(change, torch.tensor([0.0, expected, 0.0], dtype=torch.float64))


def test_energies_and_forces_count_labelled_frames_only():
    predicted_e, e = random(M, B), random(B)
    predicted_f, f = random(M, B * N, 3), random(B * N, 3)
    labelled = torch.tensor([True, False, False, True])
    of_atom, n_atoms = torch.arange(B).repeat_interleave(N), torch.full((B,), N)
    kept = labelled[of_atom]
    energy = energy_force.energy_term(predicted_e, e, labelled=labelled)
    torch.testing.assert_close(energy, energy_force.energy_term(predicted_e[:, labelled], e[labelled]))
    forces = energy_force.force_term(predicted_f, f, of_atom, n_atoms, labelled=labelled)
    expected = ((predicted_f - f)[:, kept] ** 2).sum(dim=(1, 2)) / (3 * 2 * N)
    torch.testing.assert_close(forces, expected, rtol=1e-13, atol=0.0)
    nothing = energy_force.energy_term(predicted_e, e, labelled=torch.zeros(B, dtype=torch.bool))
    assert nothing.tolist() == [0.0] * M


def test_scaled_stress_is_a_virial_an_atom():
    predicted, reference, volumes = random(M, B, 3, 3), random(B, 3, 3), random(B).abs()
    everywhere = torch.ones(B, dtype=torch.bool)
    scaled = energy_force.stress_term(predicted, reference, everywhere, scale=volumes)
    virials = volumes[:, None, None]
    expected = energy_force.stress_term(predicted * virials, reference * virials, everywhere)
    torch.testing.assert_close(scaled, expected, rtol=1e-13, atol=0.0)
