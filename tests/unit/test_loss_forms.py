"""Forms of the mollified term against potentials for which their integrals are known in closed form."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mollifield_train.loss.kernels import GaussianKernel
from mollifield_train.loss.mollifier import FORMS, mollified
from mollifield_train.loss.mollifier.scene import Labels, Scene
from mollifield_train.loss.surface import Surface

N_ATOMS = torch.tensor([2, 1, 3])
POSITIONS = torch.tensor(np.random.default_rng(0).normal(size=(6, 3)))
STIFFNESS = torch.tensor(np.random.default_rng(1).uniform(0.5, 2.0, size=(2, 6, 3)))  # M = 2
SIGMA = 0.3
HERE = torch.zeros(1, 6, 3, dtype=torch.float64)
LABELLED = torch.ones(3, dtype=torch.bool)


def sums(values: Tensor) -> Tensor:
    """Over the coordinates of each frame: [..., N, 3] -> [..., B]."""
    return torch.stack([part.sum(dim=(-2, -1)) for part in torch.split(values, N_ATOMS.tolist(), dim=-2)], -1)


def power_law(stiffness: Tensor, power: int, offset: float = 0.0) -> Callable[[Tensor], Surface]:
    """E = 1/n Σ k xⁿ + offset: [S, N, 3] -> [M, S, B], [M, S, N, 3]."""

    def surface(displacements: Tensor) -> Surface:
        x = POSITIONS + displacements
        return Surface(sums(stiffness[:, None] * x**power) / power + offset, stiffness[:, None] * x ** (power - 1))

    return surface


HARMONIC, QUARTIC = power_law(STIFFNESS, 2), power_law(STIFFNESS, 4)
SOFTER = power_law(STIFFNESS[:1], 2)


def scene_of(model: Callable[[Tensor], Surface], truth: Callable[[Tensor], Surface] = SOFTER, **more: Any) -> Scene:
    """Labels are those of the truth's first member."""
    labels = Labels(truth(HERE).energies[0, 0], LABELLED, truth(HERE).gradient[0, 0], LABELLED)
    rng = np.random.default_rng(more.pop("seed", 0))
    return Scene(N_ATOMS, model, model(HERE).gradient[:, 0], labels, GaussianKernel(SIGMA), rng, **more)


def value(scene: Scene, form: str, **settings: Any) -> Tensor:
    return mollified(FORMS[form].section(**settings), scene)


def assert_mean_is(expected: Tensor, scene: Scene, form: str, **settings: Any) -> None:
    """Within four standard errors, which are small; the random numbers go on from one estimate to the next."""
    found = torch.stack([value(scene, form, samples=20, **settings) for _ in range(300)])
    error = found.std(dim=0) / math.sqrt(len(found))
    assert ((found.mean(dim=0) - expected).abs() < 4.0 * error + 1e-12).all()
    assert (error < 0.1 * expected + 1e-12).all()


def test_residual_is_the_third_derivative():
    """Of k x³ the residual is k 3 x s²: 9 k² x² 3 σ⁴ in the mean. A harmonic force has none, however steep."""
    expected = sums(STIFFNESS**2 * 27.0 * POSITIONS**2 * SIGMA**4)
    assert_mean_is(expected, scene_of(QUARTIC), "residual")
    torch.testing.assert_close(value(scene_of(HARMONIC), "residual"), torch.zeros(2, 3, dtype=torch.float64))


def test_taylor_without_prior_flattens():
    """Of its own labels a harmonic model misses the gradient by k s, and the energy by ½ Σ k s²."""
    k = STIFFNESS[:1]
    slopes = sums(k**2 * SIGMA**2)
    # ⟨(½ Σ k s²)²⟩ of independent normal s: ¼ σ⁴ ((Σ k)² + 2 Σ k²)
    heights = 0.25 * SIGMA**4 * (sums(k) ** 2 + 2.0 * sums(k**2))
    scene = scene_of(SOFTER)
    assert_mean_is(slopes, scene, "taylor", energy=0.0)
    assert_mean_is(3.0 * N_ATOMS * heights, scene, "taylor", forces=0.0, energy=1.0)
    assert_mean_is(2.0 * slopes + 1.5 * N_ATOMS * heights, scene, "taylor", forces=2.0, energy=0.5)
    assert_mean_is(3.0 * N_ATOMS * heights / 0.25, replace(scene, length=0.5), "taylor", forces=0.0, energy=1.0)


def test_taylor_is_exact_with_the_right_hessian():
    """The prior has its minimum elsewhere and another energy there; only its curvature enters."""

    def moved(displacements: Tensor) -> Surface:
        x = POSITIONS + displacements - 0.7
        return Surface(sums(0.5 * STIFFNESS[:1, None] * x**2) - 5.0, STIFFNESS[:1, None] * x)

    scene = scene_of(SOFTER, prior=moved)
    found = value(scene, "taylor", energy=1.0, samples=3, prior={"kind": "springs"})
    torch.testing.assert_close(found, torch.zeros(1, 3, dtype=torch.float64), atol=1e-20, rtol=0.0)
    stiffer = value(scene_of(HARMONIC, prior=moved), "taylor", energy=1.0, prior={"kind": "springs"})
    assert (stiffer[1] > 1e-3).all()  # the other member, whose stiffness is not the prior's


def test_taylor_counts_the_frames_with_labels():
    scene = scene_of(HARMONIC)
    partly = replace(scene, labels=scene.labels._replace(has_gradient=torch.tensor([True, False, True])))
    settings = {"energy": 0.0, "samples": 2}
    whole = value(replace(scene, rng=np.random.default_rng(3)), "taylor", **settings)
    part = value(replace(partly, rng=np.random.default_rng(3)), "taylor", **settings)
    torch.testing.assert_close(
        part, whole * torch.tensor([1.5, 0.0, 1.5])
    )  # the mean over three frames is that over two
    only_forces = replace(scene, labels=scene.labels._replace(has_energy=~LABELLED))
    assert (value(only_forces, "taylor", forces=0.0, energy=1.0) == 0.0).all()


SPRINGS = {"kind": "springs"}


@pytest.mark.parametrize("form", ["difference", "hvp"])
def test_a_model_that_is_the_prior_and_a_constant_pays_nothing(form):
    scene = scene_of(power_law(STIFFNESS[:1], 4, offset=3.0), prior=power_law(STIFFNESS[:1], 4))
    found = value(scene, form, prior=SPRINGS)
    torch.testing.assert_close(found, torch.zeros(1, 3, dtype=torch.float64), atol=1e-20, rtol=0.0)


def test_difference_is_that_of_the_stiffness():
    """Between harmonic potentials: Σ (k - k_p)² σ², whatever the labels."""
    expected = sums((STIFFNESS - STIFFNESS[:1]) ** 2 * SIGMA**2)
    assert_mean_is(expected, scene_of(HARMONIC, prior=SOFTER), "difference", prior=SPRINGS)


def test_hvp_is_the_hessians_difference():
    """Σ (k - k_p)² for every probe, and in units of another length that length's square of it."""
    expected = sums((STIFFNESS - STIFFNESS[:1]) ** 2)
    scene = scene_of(HARMONIC, prior=SOFTER)
    torch.testing.assert_close(value(scene, "hvp", prior=SPRINGS, samples=2), expected)
    torch.testing.assert_close(value(replace(scene, length=0.5), "hvp", prior=SPRINGS), 0.25 * expected)
    # Of a quartic one: 3 k x² + k h², by differences of a finite step.
    quartic = sums((STIFFNESS * (3.0 * POSITIONS**2 + SIGMA**2) - STIFFNESS[:1]) ** 2)
    torch.testing.assert_close(value(scene_of(QUARTIC, prior=SOFTER), "hvp", prior=SPRINGS), quartic)


def test_teacher_is_the_average_or_the_committee():
    """Σ (k - k̄)² (x² + σ²) of harmonic potentials."""
    average = STIFFNESS.mean(dim=0, keepdim=True)
    expected = sums((STIFFNESS - average) ** 2 * (POSITIONS**2 + SIGMA**2))
    assert_mean_is(expected, scene_of(HARMONIC, average=power_law(average, 2)), "teacher")
    assert_mean_is(expected, scene_of(HARMONIC), "teacher", towards="committee")
    with pytest.raises(ValueError, match="a committee of one member teaches nothing"):
        value(scene_of(SOFTER), "teacher", towards="committee")
    with pytest.raises(ValueError, match=r"no average of the weights is kept \(optimiser.ema_decay is 0\)"):
        value(scene_of(HARMONIC), "teacher")


def test_denoise_is_the_error_of_a_guess():
    """Of one that is the displacement less a part c of it: Σ c² s²/σ², where a frame of n atoms has 3(n - 1) free s."""
    part = torch.tensor([0.5, 1.0], dtype=torch.float64)[:, None, None, None]

    def guess(displacements: Tensor) -> Tensor:
        return (1.0 - part) * displacements / SIGMA

    scene = scene_of(HARMONIC, denoised=guess)
    expected = part[:, 0, 0] ** 2 * 3.0 * (N_ATOMS - 1)
    assert_mean_is(expected, scene, "denoise")
    assert_mean_is(4.0 * expected, replace(scene, force=2.0), "denoise")
    unlabelled = scene.labels._replace(has_gradient=torch.tensor([True, True, False]))
    assert_mean_is(expected * torch.tensor([1.5, 1.5, 0.0]), replace(scene, labels=unlabelled), "denoise")


CASES = {
    "residual": {},
    "taylor": {"prior": SPRINGS},
    "difference": {"prior": SPRINGS},
    "hvp": {"prior": SPRINGS},
    "teacher": {},
}


def of_frame(surface: Callable[[Tensor], Surface], k: int) -> Callable[[Tensor], Surface]:
    """One frame of a surface, by displacements of its own atoms."""
    atoms = slice(int(N_ATOMS[:k].sum()), int(N_ATOMS[: k + 1].sum()))

    def part(displacements: Tensor) -> Surface:
        whole = torch.zeros(len(displacements), 6, 3, dtype=torch.float64)
        whole[:, atoms] = displacements
        found = surface(whole)
        return Surface(found.energies[:, :, k : k + 1], found.gradient[:, :, atoms])

    return part


class Drawn:
    """A kernel, and a source of random signs, that have been told what to draw: the same for a batch and a frame."""

    width = SIGMA

    def __init__(self, atoms: slice) -> None:
        self.steps = np.random.default_rng(5).normal(0.0, SIGMA, size=(2, 6, 3))[:, atoms]

    def sample(self, rng: Any, shape: tuple[int, ...]) -> np.ndarray:
        assert shape == self.steps.shape
        return self.steps

    def integers(self, low: int, high: int, size: tuple[int, ...]) -> np.ndarray:
        return (self.steps > 0.0).astype(np.int64)


@pytest.mark.parametrize("form", CASES)
def test_batch_is_its_frames(form):
    drawn: Any = Drawn(slice(None))
    average = power_law(STIFFNESS.mean(dim=0, keepdim=True), 2)
    scene = replace(scene_of(QUARTIC, prior=SOFTER, average=average), kernel=drawn, rng=drawn)
    whole = value(scene, form, samples=2, **CASES[form])
    start = 0
    for k, n in enumerate(N_ATOMS.tolist()):
        atoms = slice(start, start + n)
        start += n
        alone: Any = Drawn(atoms)
        labels = scene.labels
        single = Scene(
            N_ATOMS[k : k + 1],
            of_frame(QUARTIC, k),
            scene.at_rest[:, atoms],
            Labels(labels.energies[k : k + 1], LABELLED[:1], labels.gradient[atoms], LABELLED[:1]),
            alone,
            alone,
            of_frame(SOFTER, k),
            of_frame(average, k),
        )
        torch.testing.assert_close(value(single, form, samples=2, **CASES[form])[:, 0], whole[:, k])


def coupled(displacements: Tensor) -> Surface:
    """A gradient that depends on the other coordinates of the atom too, so that the sign of each counts."""
    x = POSITIONS + displacements
    return Surface(QUARTIC(displacements).energies, STIFFNESS[:, None] * x * (1.0 + x.sum(dim=-1, keepdim=True)))


@pytest.mark.parametrize("form", CASES)
def test_seed_fixes_the_displacements(form):
    average = power_law(STIFFNESS.mean(dim=0, keepdim=True), 2)
    one, two, other = (
        value(scene_of(coupled, seed=seed, prior=SOFTER, average=average), form, **CASES[form]) for seed in (1, 1, 2)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


@pytest.mark.parametrize("form", CASES)
def test_derivatives_by_the_parameters(form):
    average = power_law(STIFFNESS.mean(dim=0, keepdim=True), 2)

    def term(stiffness: Tensor) -> Tensor:
        scene = scene_of(power_law(stiffness, 4), prior=SOFTER, average=average)
        return value(scene, form, **CASES[form])

    assert torch.autograd.gradcheck(term, STIFFNESS.clone().requires_grad_())
