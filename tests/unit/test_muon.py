"""Steps of matrices: against the singular value decomposition, against Adam, and each member by itself."""

import copy

import torch

from mollifield_train.config import OptimiserConfig
from mollifield_train.training.muon import ADAM_SIZE, NESTEROV, Muon, orthogonalised
from mollifield_train.training.optimisers import optimiser_of

from ..conftest import build_potential

DOUBLE = torch.float64
RATE = 0.01
SHAPES = {0: [(4, 6), (6, 4), (1, 3)], 1: [(4, 6)]}
"""Of the first two of `parameters`; the third is no matrix."""


def parameters(n_members: int = 3) -> list[torch.Tensor]:
    """The same first members whatever their number."""
    drawn = torch.randn(8, 90, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)[:n_members]
    flat = drawn[:, :51], drawn[:, 51:75].view(-1, 4, 6), drawn[:, 75:]
    return [part.clone().requires_grad_() for part in flat]


def taken(weights: list[torch.Tensor], n_steps: int, decay: float = 0.0) -> list[torch.Tensor]:
    """Weights after some steps down a loss of each member, whose gradients differ from step to step."""
    muon = Muon(weights, SHAPES, RATE, decay)
    for k in range(n_steps):
        muon.zero_grad()
        sum(((w - k).sin() * w).sum() for w in weights).backward()
        muon.step()
    return [w.detach() for w in weights]


def test_singular_values_become_alike() -> None:
    """Those of random matrices; directions stay, and a gradient of zero makes no step."""
    matrices = torch.randn(20, 5, 9, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonalised(matrices)
    inside = u.mT @ found @ v.mT
    values = torch.diagonal(inside, dim1=1, dim2=2)
    assert values.min() > 0.6 and values.max() < 1.3
    assert (inside - torch.diag_embed(values)).abs().max() < 1e-12
    assert torch.equal(orthogonalised(torch.zeros(1, 2, 3)), torch.zeros(1, 2, 3))


def test_first_step_has_the_size_of_adams() -> None:
    """And the direction of the gradient's own matrices, in either orientation, one by one."""
    before, after = parameters(), taken(parameters(), 1)
    moved = [(b - a).detach() for b, a in zip(before, after, strict=True)]
    gradient = torch.autograd.grad((before[0].sin() * before[0]).sum(), before[0])[0]
    start = 0
    for rows, columns in SHAPES[0]:
        one = slice(start, start + rows * columns)
        u, _, v = torch.linalg.svd(gradient[:, one].reshape(-1, rows, columns), full_matrices=False)
        wanted = RATE * ADAM_SIZE * max(rows, columns) ** 0.5 * (u @ v)
        step = moved[0][:, one].reshape(-1, rows, columns)
        assert (step - wanted).norm() < 0.35 * wanted.norm()
        start += rows * columns
    torch.testing.assert_close(moved[2].abs(), torch.full_like(moved[2], RATE))  # Adam's first step


def test_momentum_looks_ahead() -> None:
    """Each step follows (1 - d) g + d m, where m has taken in g already: m <- d m + (1 - d) g."""
    weights = parameters()
    muon = Muon(weights, SHAPES, RATE, 0.0)
    gradients = [torch.randn_like(weights[1]) for _ in range(2)]
    before = weights[1].detach().clone()
    for gradient in gradients:
        for w in weights:
            w.grad = torch.zeros_like(w)
        weights[1].grad = gradient
        muon.step()
    first = (1.0 - NESTEROV) * gradients[0]
    second = NESTEROV * first + (1.0 - NESTEROV) * gradients[1]
    ahead = [(1.0 - NESTEROV) * g + NESTEROV * m for g, m in zip(gradients, (first, second), strict=True)]
    wanted = before - RATE * ADAM_SIZE * 6**0.5 * sum(orthogonalised(step) for step in ahead)
    torch.testing.assert_close(weights[1].detach(), wanted)


def test_decay_shrinks_matrices_and_others_alike() -> None:
    for plain, decayed, start in zip(taken(parameters(), 1), taken(parameters(), 1, 0.5), parameters(), strict=True):
        torch.testing.assert_close(decayed, plain - 0.5 * RATE * start.detach())


def test_members_do_not_know_of_each_other() -> None:
    """Members of a committee of three take the steps that they take alone, to rounding."""
    for together, alone in zip(taken(parameters(3), 5), taken(parameters(1), 5), strict=True):
        torch.testing.assert_close(together[:1], alone, rtol=1e-12, atol=1e-12)


def test_goes_on_from_its_state() -> None:
    whole = taken(parameters(), 4)
    weights = parameters()
    muon = Muon(weights, SHAPES, RATE, 0.0)
    for k in range(4):
        if k == 2:
            state = copy.deepcopy(muon.state_dict())
            muon = Muon(weights, SHAPES, RATE, 0.0)
            muon.load_state_dict(state)
        muon.zero_grad()
        sum(((w - k).sin() * w).sum() for w in weights).backward()
        muon.step()
    for found, wanted in zip(weights, whole, strict=True):
        assert torch.equal(found.detach(), wanted)


def test_matrices_of_a_model_are_its_maps() -> None:
    """All weights but embeddings, scales of species and the readout; `adam` treats none so."""
    model = build_potential(DOUBLE, n_layers=2, n_channels=4, correlation=3)
    shapes, sizes = model.matrices(), {name: parameter[0].numel() for name, parameter in model.named_parameters()}
    assert {name: sum(a * b for a, b in found) for name, found in shapes.items()} == {
        name: size for name, size in sizes.items() if name in shapes
    }
    left = {name.rsplit(".", 1)[-1] for name in sizes.keys() - shapes.keys()}
    assert left == {"species_embedding", "type_scales", "weight_1", "weight_2"}
    parameters = list(model.parameters())
    assert isinstance(optimiser_of(OptimiserConfig(), model, parameters), Muon)
    assert isinstance(optimiser_of(OptimiserConfig(method="adam"), model, parameters), torch.optim.Adam)
