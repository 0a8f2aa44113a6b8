"""Gradients of members: norms, an adaptive weight, and a step uphill, each member by itself."""

import pytest
import torch

from mollifield_train.training.member_gradients import DECAY, Ascent, Balance, balanced_gradients, member_norms


def parameters(scale: float = 1.0) -> list[torch.Tensor]:
    """Of three members; the last one's are `scale` times as large."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(3, *shape, dtype=torch.float64, generator=generator) for shape in ((4,), (2, 3), (5,))]
    factors = torch.tensor([1.0, 1.0, scale], dtype=torch.float64)
    return [(p * factors.view(-1, *[1] * (p.dim() - 1))).requires_grad_() for p in drawn]


def quartic(weights: list[torch.Tensor]) -> torch.Tensor:
    """[M]; the last tensor is not in it."""
    return sum((w**4).flatten(1).sum(dim=1) for w in weights[:2])


def linear(weights: list[torch.Tensor]) -> torch.Tensor:
    """[M], of the last two."""
    return sum(w.flatten(1).sum(dim=1) for w in weights[1:])


def test_the_term_gets_its_share():
    """At the first evaluation exactly, whatever the term is multiplied with; tensors of one loss alone as well."""
    weights = parameters()
    of_quartic = torch.autograd.grad(quartic(weights).sum(), weights[:2])
    for factor in (1.0, 1e-6):
        found = balanced_gradients(weights, quartic(weights).sum(), factor * linear(weights).sum(), 0.1, Balance(3))
        part = [found[1] - of_quartic[1], found[2]]
        torch.testing.assert_close(member_norms(part), 0.1 * member_norms(of_quartic))
        torch.testing.assert_close(found[0], of_quartic[0])
        assert torch.equal(found[2], found[2][:, :1].expand(3, 5))  # the direction of the term is its own


def test_balance_averages_logarithms_and_continues():
    ones = torch.ones(2)
    balance, halves = Balance(2), []
    assert balance.ratio().tolist() == [0.0, 0.0]
    for k in range(40):
        norms = torch.tensor([4.0, 2.0]) if k % 2 else torch.tensor([1.0, 2.0])
        halves.append(balance.update(norms, ones))
        if k == 20:
            copy = Balance(2)
            copy.load(balance.state())
        elif k > 20:
            assert torch.equal(copy.update(norms, ones), halves[-1])
    assert torch.equal(halves[0], torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert halves[1].tolist() == pytest.approx([2.0, 2.0])  # the geometric mean of both
    assert halves[-1].tolist() == pytest.approx([2.0, 2.0], rel=2.0 * (1.0 - DECAY))
    before = balance.ratio()
    assert torch.equal(balance.update(ones, torch.zeros(2)), before)  # a term that is zero needs no other weight


def test_ascent_is_as_long_for_every_member_and_leaves_no_trace():
    moves = []
    for scale in (1.0, 3.0):
        weights = parameters(scale)
        before = [w.detach().clone() for w in weights]
        ascent = Ascent(weights, quartic(weights).sum(), 0.25)
        moves.append([w.detach() - b for w, b in zip(weights, before, strict=True)])
        torch.testing.assert_close(member_norms(moves[-1][:2]), torch.full((3,), 0.25, dtype=torch.float64))
        assert (quartic(weights) > quartic(before)).all()
        ascent.undo()
        assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
    for one, other in zip(*moves, strict=True):
        assert torch.equal(one[:2], other[:2])  # whatever the third member is
