"""Reg-M against potentials whose mollified squared gradient is known in closed form."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mollifield_train.config import LossConfig
from mollifield_train.loss.kernels import CompactKernel, GaussianKernel
from mollifield_train.loss.mollifier.gradient import joint_monte_carlo, monte_carlo, quadrature
from mollifield_train.loss.mollifier.weights import draw_frames, mollifier_term, scheduled_weight
from mollifield_train.training.objective import Objective

N_ATOMS = torch.tensor([2, 1, 3])
POSITIONS = torch.tensor(np.random.default_rng(0).normal(size=(6, 3)))
STIFFNESS = torch.tensor(np.random.default_rng(1).uniform(0.5, 2.0, size=(2, 6, 3)))  # M = 2
KERNELS = [GaussianKernel(0.4), CompactKernel(0.9)]


def harmonic(displacements: Tensor) -> Tensor:
    """E = 1/2 Σ k x², so dE/dx = k (x + s): [S, N, 3] -> [M, S, N, 3]."""
    return STIFFNESS[:, None] * (POSITIONS + displacements)


def quartic(displacements: Tensor) -> Tensor:
    """E = 1/4 Σ k x⁴, so dE/dx = k (x + s)³."""
    return STIFFNESS[:, None] * (POSITIONS + displacements) ** 3


def coupled(displacements: Tensor) -> Tensor:
    """E = 1/2 Σ k x² (1 + |x|² of its atom): a gradient that depends on other coordinates too."""
    x = POSITIONS + displacements
    return STIFFNESS[:, None] * x * (1.0 + x.square().sum(dim=-1, keepdim=True))


def sum_frames(values: Tensor) -> Tensor:
    """[M, N, 3] -> [M, B]."""
    return torch.stack([part.sum(dim=(1, 2)) for part in torch.split(values, N_ATOMS.tolist(), dim=1)], 1)


def moment(kernel, power: int) -> float:
    """∫ x^power φ, on a grid much finer than the kernel's own quadrature."""
    reach = kernel.width * (1.0 if isinstance(kernel, CompactKernel) else 12.0)
    x = np.linspace(-reach, reach, 200_001)
    return float(np.sum(x**power * kernel.density(x)) * (x[1] - x[0]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_integrates_to_one(kernel):
    assert moment(kernel, 0) == pytest.approx(1.0, abs=1e-10)


def test_compact_kernel_vanishes_outside_its_support():
    kernel = CompactKernel(0.3)
    x = np.array([-0.31, -0.3, 0.3, 0.30000001, 5.0])
    assert kernel.density(x).tolist() == [0.0] * 5
    assert kernel.density(np.array([0.29]))[0] > 0.0
    assert np.abs(kernel.sample(np.random.default_rng(0), (10_000,))).max() < 0.3
    # The integral of exp(-1/(1 - x²)) over (-1, 1) to 12 digits; C_ε is its inverse over ε.
    assert kernel.normalisation == pytest.approx(1.0 / (0.3 * 0.443993816168), rel=1e-11)


@pytest.mark.parametrize("kernel", KERNELS)
def test_samples_have_the_kernels_moments(kernel):
    x = kernel.sample(np.random.default_rng(3), (400, 500))
    n = x.size
    for power in (1, 2, 4):
        deviation = abs(np.mean(x**power) - moment(kernel, power))
        assert deviation < 4.0 * np.std(x**power) / math.sqrt(n)


def test_gaussian_regulariser_of_a_harmonic_potential():
    kernel = GaussianKernel(0.4)
    expected = sum_frames(STIFFNESS**2 * (POSITIONS**2 + kernel.width**2))
    found = quadrature(harmonic, N_ATOMS, kernel, 2)  # 2 nodes are exact for a square
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0.0)


def test_gaussian_regulariser_of_a_quartic_potential():
    s2 = 0.4**2
    x = POSITIONS
    sixth = x**6 + 15 * x**4 * s2 + 45 * x**2 * s2**2 + 15 * s2**3  # ∫ (x + s)^6 φ
    expected = sum_frames(STIFFNESS**2 * sixth)
    found = quadrature(quartic, N_ATOMS, GaussianKernel(0.4), 4)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0.0)


def test_compact_regulariser_of_a_quartic_potential():
    kernel = CompactKernel(0.9)
    m2, m4, m6 = (moment(kernel, power) for power in (2, 4, 6))
    x = POSITIONS
    expected = sum_frames(STIFFNESS**2 * (x**6 + 15 * x**4 * m2 + 15 * x**2 * m4 + m6))
    found = quadrature(quartic, N_ATOMS, kernel, 40)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0.0)
    few = quadrature(quartic, N_ATOMS, kernel, 8)
    torch.testing.assert_close(few, expected, rtol=2e-2, atol=0.0)


@pytest.mark.parametrize("use_rest", [False, True])
@pytest.mark.parametrize("gradient", [harmonic, quartic, coupled])
@pytest.mark.parametrize("kernel", KERNELS)
def test_monte_carlo_agrees_with_quadrature_within_its_standard_error(kernel, gradient, use_rest):
    exact = quadrature(gradient, N_ATOMS, kernel, 40)
    rest = gradient(torch.zeros(1, 6, 3, dtype=torch.float64))[:, 0] if use_rest else None
    rng = np.random.default_rng(5)
    batches = torch.stack([monte_carlo(gradient, N_ATOMS, kernel, 20, rng, rest) for _ in range(400)])
    error = batches.std(dim=0) / math.sqrt(len(batches))
    assert ((batches.mean(dim=0) - exact).abs() < 4.0 * error).all()
    assert (error < 0.1 * exact).all()  # the bound above means something


def test_gradient_at_rest_takes_the_noise_out():
    kernel = GaussianKernel(0.05)
    rest = quartic(torch.zeros(1, 6, 3, dtype=torch.float64))[:, 0]
    spread = [
        torch.stack([monte_carlo(quartic, N_ATOMS, kernel, 2, rng, at_rest) for _ in range(200)]).std(0)
        for at_rest, rng in ((None, np.random.default_rng(1)), (rest, np.random.default_rng(1)))
    ]
    assert (spread[1] < 0.5 * spread[0]).all()


@pytest.mark.parametrize("kernel", [GaussianKernel(1e-7), CompactKernel(1e-7)])
def test_zero_width_limit_is_the_squared_gradient(kernel):
    rest = coupled(torch.zeros(1, 6, 3, dtype=torch.float64))[:, 0]
    expected = sum_frames(rest**2)
    torch.testing.assert_close(quadrature(coupled, N_ATOMS, kernel, 5), expected, rtol=1e-6, atol=0.0)
    rng = np.random.default_rng(0)
    sampled = monte_carlo(coupled, N_ATOMS, kernel, 1, rng, rest)
    torch.testing.assert_close(sampled, expected, rtol=1e-5, atol=1e-6)
    joint = joint_monte_carlo(coupled, N_ATOMS, kernel, 1, rng)
    torch.testing.assert_close(joint, expected, rtol=1e-5, atol=1e-6)


def test_joint_displacements_average_over_the_product_kernel():
    kernel = GaussianKernel(0.4)
    rng = np.random.default_rng(2)
    values = torch.stack([joint_monte_carlo(harmonic, N_ATOMS, kernel, 50, rng) for _ in range(200)])
    expected = sum_frames(STIFFNESS**2 * (POSITIONS**2 + kernel.width**2))
    error = values.std(dim=0) / math.sqrt(len(values))
    assert ((values.mean(dim=0) - expected).abs() < 4.0 * error).all()
    # Where coordinates are coupled it is another quantity than the formula's, and larger.
    joint = torch.stack([joint_monte_carlo(coupled, N_ATOMS, kernel, 50, rng) for _ in range(200)])
    assert (joint.mean(dim=0) > quadrature(coupled, N_ATOMS, kernel, 9)).all()


def test_seed_fixes_the_samples():
    kernel = CompactKernel(0.5)
    one, two, other = (monte_carlo(quartic, N_ATOMS, kernel, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_per_atom_is_per_structure_over_three_n():
    per_frame = quadrature(quartic, N_ATOMS, GaussianKernel(0.3), 5)
    structure = mollifier_term(per_frame, N_ATOMS, "per_structure")
    torch.testing.assert_close(structure, per_frame.sum(dim=1) / 3)
    atom = mollifier_term(per_frame, N_ATOMS, "per_atom")
    expected = (per_frame[:, 0] / 6 + per_frame[:, 1] / 3 + per_frame[:, 2] / 9) / 3
    torch.testing.assert_close(atom, expected)
    with pytest.raises(ValueError, match="allowed are per_atom, per_structure"):
        mollifier_term(per_frame, N_ATOMS, "per_molecule")


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_part_of_a_batch_is_unbiased(fraction):
    per_frame = torch.tensor([[1.0, 10.0, 100.0, 1000.0]], dtype=torch.float64)
    n_atoms = torch.ones(4, dtype=torch.int64)
    rng = np.random.default_rng(0)
    counts = np.zeros(4)
    means = []
    for _ in range(4000):
        chosen = draw_frames(4, fraction, rng)
        assert len(chosen) == round(4 * fraction)
        counts[chosen] += 1
        means.append(mollifier_term(per_frame[:, chosen], n_atoms[chosen], "per_structure").item())
    error = np.std(means) / math.sqrt(len(means))
    assert abs(np.mean(means) - per_frame.mean().item()) < 4.0 * error
    assert np.ptp(counts) < 0.1 * counts.mean() + 200
    assert draw_frames(4, 0.01, rng).size == 1


def test_schedules_end_early():
    times = (0.0, 0.3, 0.6, 0.7, 1.0)
    assert [scheduled_weight("constant", 2.0, t, until=0.6) for t in times] == [2.0, 2.0, 2.0, 0.0, 0.0]
    assert [scheduled_weight("linear", 2.0, t, until=0.6) for t in times] == [2.0, 1.0, 0.0, 0.0, 0.0]
    assert [round(scheduled_weight("cosine", 2.0, t, until=0.6), 12) for t in times] == [2.0, 1.0, 0.0, 0.0, 0.0]
    assert scheduled_weight("constant", 2.0, 1.1) == 2.0  # a run of so many minutes ends a little late
    objective = Objective(LossConfig(mollifier={"form": "residual", "weight": 3.0, "until": 0.7}), 1.0, seed=0)
    assert [objective.mollifier_weight(t) for t in (0.0, 0.69, 0.71)] == [3.0, 3.0, 0.0]


def test_schedules_fall_to_zero():
    assert [scheduled_weight("constant", 2.0, t) for t in (0.0, 0.5, 1.0)] == [2.0, 2.0, 2.0]
    assert [scheduled_weight("linear", 2.0, t) for t in (0.0, 0.5, 1.0)] == [2.0, 1.0, 0.0]
    cosine = [scheduled_weight("cosine", 2.0, t) for t in (0.0, 0.5, 1.0)]
    assert cosine == pytest.approx([2.0, 1.0, 0.0], abs=1e-15)
    with pytest.raises(ValueError, match="allowed are constant, linear, cosine"):
        scheduled_weight("step", 1.0, 0.0)


class Pairs:
    """E = Σ_pairs a exp(-b d²) + c d⁴ of one frame's atoms: a smooth potential with parameters."""

    def __init__(self, positions: Tensor) -> None:
        self.positions = positions

    def gradient(self, parameters: Tensor):
        def gradient(displacements: Tensor) -> Tensor:
            x = (self.positions + displacements).requires_grad_()
            i, j = torch.triu_indices(x.shape[1], x.shape[1], 1)
            squares = (x[:, i] - x[:, j]).square().sum(dim=-1)
            a, b, c = parameters
            energy = (a * torch.exp(-b * squares) + c * squares**2).sum()
            return torch.autograd.grad(energy, x, create_graph=True)[0][None]

        return gradient


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("how", ["monte_carlo", "joint", "quadrature"])
def test_derivatives_by_the_parameters(kernel, how):
    pairs = Pairs(POSITIONS[:3])
    n_atoms = torch.tensor([3])

    def regulariser(parameters: Tensor) -> Tensor:
        gradient = pairs.gradient(parameters)
        if how == "quadrature":
            return quadrature(gradient, n_atoms, kernel, 3)
        if how == "joint":
            return joint_monte_carlo(gradient, n_atoms, kernel, 2, np.random.default_rng(0))
        rest = gradient(torch.zeros(1, 3, 3, dtype=torch.float64))[:, 0]
        return monte_carlo(gradient, n_atoms, kernel, 2, np.random.default_rng(0), rest)

    parameters = torch.tensor([1.3, 0.7, 0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(regulariser, parameters)
