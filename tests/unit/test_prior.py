"""Priors of the loss: springs fitted to forces, calculators, and what is remembered of either."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

from mollifield_train.data.batches import build_graphs
from mollifield_train.data.frames import Frame, frames_from_atoms
from mollifield_train.loss.mollifier.sections import DifferenceConfig
from mollifield_train.oracle.calculators import EmtConfig
from mollifield_train.prior import make_prior
from mollifield_train.prior.springs_config import SpringsConfig

from .fitting import labelled_water


def graphs_of(images, species=("H", "O")):
    return build_graphs(frames_from_atoms(images, "memory"), list(species), 5.0)


@pytest.fixture(name="water", scope="module")
def made_water():
    return graphs_of(labelled_water(60))


def test_springs_find_the_springs_that_made_the_labels(water):
    """Labels of harmonic bonds: energies but for a constant, and forces, of frames that were not fitted to."""
    springs = make_prior(SpringsConfig(), water)
    others = graphs_of(labelled_water(20, seed=1))
    n_atoms = sum(graph.n_atoms for graph in others)
    energies, gradients = springs.displaced(others, torch.zeros(1, n_atoms, 3, dtype=torch.float64))
    labels = np.concatenate([graph.frame.forces for graph in others])
    assert np.sqrt(np.mean((gradients[0, 0].numpy() + labels) ** 2)) < 0.1 * np.sqrt(np.mean(labels**2))
    differences = energies[0, 0].numpy() - np.array([graph.frame.energy for graph in others])
    assert differences.std() < 0.1 * np.std([graph.frame.energy for graph in others])


def test_gradient_of_springs_is_that_of_their_energy(water):
    springs = make_prior(SpringsConfig(), water)
    rng, step = np.random.default_rng(0), 1e-5
    displacement, direction = torch.from_numpy(rng.normal(scale=(0.05, 1.0), size=(6, 3, 2))).unbind(-1)
    moved = torch.stack([displacement, displacement + step * direction, displacement - step * direction])
    energies, gradients = springs.displaced(water[:2], moved)
    slopes = (energies[0, 1] - energies[0, 2]) / (2.0 * step)
    expected = (gradients[0, 0] * direction).view(2, 9).sum(dim=1)
    torch.testing.assert_close(slopes, expected, rtol=1e-7, atol=1e-7)


def test_calculator_sees_the_displaced_crystal():
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, seed=0)
    graph = build_graphs([Frame.unlabelled(atoms, "memory")], ["Cu"], 4.0)
    displacement = torch.from_numpy(np.random.default_rng(0).normal(scale=0.05, size=(1, 8, 3)))
    energies, gradients = make_prior(EmtConfig(), []).displaced(graph, displacement)
    atoms.positions += displacement[0].numpy()
    atoms.calc = EMT()
    assert energies.item() == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(-gradients[0, 0], atoms.get_forces(), atol=1e-12)


def test_frames_at_rest_are_computed_once(water, monkeypatch):
    prior = make_prior(SpringsConfig(), water)
    calls, evaluate = [], prior._evaluate
    monkeypatch.setattr(prior, "_evaluate", lambda graph, s: calls.append(graph.index) or evaluate(graph, s))
    steps = torch.zeros(2, 6, 3, dtype=torch.float64)
    steps[1, 0, 0] = 0.1  # of the first frame alone
    for _ in range(2):
        prior.displaced(water[:2], steps)
    assert sorted(calls) == [0, 0, 0, 1]


def test_refusals(water):
    with pytest.raises(ValueError, match="springs are fitted to forces, which no training frame has"):
        make_prior(SpringsConfig(), [])
    with pytest.raises(ValueError, match=r"reach: no two atoms of a training frame are within 0\.1 Å"):
        make_prior(SpringsConfig(reach=0.1), water)
    with pytest.raises(ValueError, match="frame 0 of memory: the prior failed here or nearby: .*No EMT-potential for"):
        sick = build_graphs([Frame.unlabelled(bulk("Si"), "frame 0 of memory")], ["Si"], 4.0)
        make_prior(EmtConfig(), []).displaced(sick, torch.zeros(1, 2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="'retries' means something for the oracle of a loop only"):
        DifferenceConfig(prior={"kind": "emt", "retries": 3})


@pytest.mark.parametrize("kind", ["emt", "springs"])
def test_what_a_run_writes_of_a_prior_can_be_read(kind):
    given = DifferenceConfig(prior={"kind": kind})
    assert DifferenceConfig(**given.model_dump(mode="json")) == given
