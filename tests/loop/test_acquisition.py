"""Which frames are chosen, and from which numbers."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield.uncertainty import latent_features
from mollifield_train.active.acquire import ACQUISITIONS, acquisition
from mollifield_train.active.acquire.descriptors import frame_descriptor
from mollifield_train.active.acquire.farthest_points import spread
from mollifield_train.active.acquire.greedy import gain_and_distance, largest_cluster, log_det, standardised
from mollifield_train.active.acquire.information import information_gain
from mollifield_train.active.acquire.most_uncertain import most_uncertain
from mollifield_train.active.acquire.random import random_choice
from mollifield_train.active.acquire.scene import Scene
from mollifield_train.active.acquire.when_trusted import WhenTrusted
from mollifield_train.active.committee import Prediction


def test_most_uncertain_is_sorted_and_stable() -> None:
    std = np.array([0.1, 0.5, 0.5, 0.9, 0.0])
    assert most_uncertain(std, 3).tolist() == [3, 1, 2]
    assert most_uncertain(std, 99).tolist() == [3, 1, 2, 0, 4]


def test_random_choice_has_no_repeats_and_follows_the_seed() -> None:
    first = random_choice(50, 10, np.random.default_rng(3))
    assert len(set(first.tolist())) == 10
    assert first.tolist() == random_choice(50, 10, np.random.default_rng(3)).tolist()
    assert random_choice(4, 10, np.random.default_rng(3)).tolist() == [0, 1, 2, 3]


def test_farthest_points_cover_the_ends_first() -> None:
    line = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert spread(line, 3).tolist() == [0, 3, 2]


def test_farthest_points_avoid_what_is_known() -> None:
    line = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert spread(line, 2, known=np.array([[10.0]])).tolist() == [0, 2]


@pytest.mark.parametrize("known", [None, np.array([[5.0]])])
def test_farthest_points_never_take_copies(known: np.ndarray | None) -> None:
    assert len(spread(np.full((6, 1), 5.0), 4, known)) == (1 if known is None else 0)


class Line:
    """A committee whose only feature of an atom is where it is."""

    species: ClassVar[list[int]] = [1]

    def predict(self, atoms: Atoms) -> Prediction:
        return Prediction(0.0, 0.0, np.zeros((1, 3)), np.zeros(1), atoms.positions[:, :1])


def scene(std: list[float], where: list[float], n_above: int | None = None, known: Sequence[float] = ()) -> Scene:
    """One atom a frame, at x = `where`; the first `n_above` are above the threshold, by default all."""
    frames, learnt = ([Atoms("H", [[x, 0.0, 0.0]]) for x in places] for places in (where, known))
    above = np.arange(len(std)) < (len(std) if n_above is None else n_above)
    return Scene(frames, np.array(std), above, learnt, Line())


def chosen(kind: str, of: Scene, n: int, **settings: object) -> list[int]:
    choose = acquisition(ACQUISITIONS[kind].section(**settings))
    return choose(of, n, np.random.default_rng(0)).tolist()


def test_no_candidates_give_an_empty_batch() -> None:
    assert spread(np.zeros((0, 3)), 4).tolist() == []
    for kind in ACQUISITIONS:
        assert chosen(kind, scene([], []), 4) == []


def test_diversity_acts_within_the_uncertain_ones_only() -> None:
    candidates = scene([1.0, 0.9, 0.8, 0.7, 0.0], [0.0, 0.01, 0.02, 3.0, 100.0])
    # Frame 4 is the farthest by far, but the model knows it; 1 and 2 repeat what 0 teaches.
    assert chosen("uncertain_then_diverse", candidates, 2, pool_factor=2.0) == [0, 3]
    # A pool of the batch's size leaves nothing to diversify.
    assert sorted(chosen("uncertain_then_diverse", candidates, 2, pool_factor=1.0)) == [0, 1]


def test_what_each_kind_takes_first() -> None:
    """Frames above the threshold, and the most uncertain others where those are too few."""
    candidates = scene([0.5, 0.9, 0.2, 0.4, 0.3], [0.0, 5.0, 9.0, 1.0, 2.0], n_above=3, known=[8.9])
    assert chosen("most_uncertain", candidates, 4) == [1, 0, 2, 3]
    assert chosen("farthest_points", candidates, 4) == [0, 1, 2, 3]
    assert chosen("uncertain_then_diverse", candidates, 2, pool_factor=1.0) == [0, 1]
    assert chosen("random", candidates, 9) == [0, 1, 2, 3, 4]


def features(latent: np.ndarray) -> np.ndarray:
    """As the loop's committee gives them."""
    return latent_features({}, torch.from_numpy(latent)).numpy()


@pytest.mark.parametrize("kind", ["mean", "species_mean"])
def test_descriptor_ignores_the_order_of_atoms(kind: str) -> None:
    rng = np.random.default_rng(0)
    latent, numbers = rng.normal(size=(3, 5, 4)), np.array([6, 1, 1, 8, 1])
    order = np.array([2, 0, 3, 1, 4])
    one = frame_descriptor(features(latent), numbers, [1, 6, 8], kind)
    other = frame_descriptor(features(latent[:, order]), numbers[order], [1, 6, 8], kind)
    np.testing.assert_allclose(one, other, atol=1e-14)
    assert one.shape == ((12,) if kind == "mean" else (36,))


def test_species_mean_tells_species_apart_and_allows_absent_ones() -> None:
    latent = np.array([[[1.0], [2.0], [4.0]]])
    descriptor = frame_descriptor(features(latent), np.array([1, 1, 6]), [1, 6, 8], "species_mean")
    assert descriptor.tolist() == [1.5, 4.0, 0.0]


def test_distance_does_not_grow_with_the_committee() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 1, 4, 3))
    numbers = np.ones(4, dtype=int)

    def distance(n_members: int) -> float:
        descriptors = [
            frame_descriptor(features(np.repeat(x, n_members, axis=0)), numbers, [1], "mean") for x in (a, b)
        ]
        return float(np.linalg.norm(descriptors[0] - descriptors[1]))

    assert distance(8) == pytest.approx(distance(1), rel=1e-12)


class Uncertain(Line):
    """Whose std is a function of where the atom is, and whose noise is stated."""

    def __init__(self, noise: float | None = None, error: float = 0.0) -> None:
        self.noise, self.error = noise, error

    def predict(self, atoms: Atoms) -> Prediction:
        x = atoms.positions[:, 0]
        forces = np.outer(self.error * (1.0 + x) * (1.0 + 0.01 * np.sin(99.0 * x)), [1.0, 0.0, 0.0])
        noise = None if self.noise is None else np.full(1, self.noise)
        return Prediction(0.0, 0.0, forces, 0.1 * (1.0 + x), atoms.positions[:, :1], aleatoric_std=noise)


def test_information_gain_is_that_of_a_gaussian_measurement() -> None:
    of = dataclasses.replace(scene([0.1, 0.1], [0.0, 3.0]), committee=Uncertain())
    indices = np.array([0, 1])
    np.testing.assert_allclose(information_gain(of, indices, 0.2), 0.5 * np.log([1.25, 5.0]))
    stated = dataclasses.replace(of, committee=Uncertain(noise=0.1))
    np.testing.assert_allclose(information_gain(stated, indices, 0.2), 0.5 * np.log([2.0, 17.0]))


def test_combined_weighs_gain_against_distance() -> None:
    candidates = dataclasses.replace(scene([0.1] * 4, [4.0, 4.01, 9.0, 2.0], known=[1.0, 3.0]), committee=Uncertain())
    assert chosen("information_gain", candidates, 3) == [2, 1, 0]
    assert chosen("combined", candidates, 3, weight=0.0) == [2, 1, 0]
    # Frames 0 and 1 tell the same; with a bonus for distance one of them is enough.
    assert chosen("combined", candidates, 3, weight=10.0) == [2, 1, 3]


def test_what_is_known_tells_nothing() -> None:
    """The gain and distance rule never takes a copy of a labelled or chosen frame."""
    rows = np.array([[0.0], [1.0], [1.0]])
    assert gain_and_distance(np.array([9.0, 1.0, 1.0]), rows, np.array([[0.0]]), 1.0, 3).tolist() == [1]


def test_log_det_is_the_greedy_maximum() -> None:
    rng = np.random.default_rng(0)
    rows, known, noise = rng.normal(size=(7, 4)), rng.normal(size=(3, 4)), 0.5
    covariance = np.linalg.inv(np.eye(4) + known.T @ known / noise**2)

    def gain(batch: list[int]) -> float:
        kernel = rows[batch] @ covariance @ rows[batch].T
        return float(np.linalg.slogdet(np.eye(len(batch)) + kernel / noise**2)[1])

    batch: list[int] = []
    for _ in range(5):
        batch.append(max(set(range(7)) - set(batch), key=lambda k: gain([*batch, k])))
    assert log_det(rows, known, noise, 5).tolist() == batch
    assert sorted(log_det(rows, known, noise, 99).tolist()) == list(range(7))


def test_log_det_takes_other_directions_where_the_largest_are_alike() -> None:
    rows = np.array([[3.0, 0.0], [2.9, 0.0], [0.0, 1.0]])
    assert log_det(rows, np.zeros((0, 2)), 0.1, 2).tolist() == [0, 2]


def test_largest_cluster_goes_where_most_is_unrepresented() -> None:
    line = np.array([[1.0], [1.1], [1.2], [1.3], [-1.2]])
    # The single frame at -1.2 is the farthest, but the cluster of the known frame at 0.5 is larger.
    assert largest_cluster(line, np.array([[0.0], [0.5]]), 2).tolist() == [3, 4]
    assert largest_cluster(line, np.array([[0.0], [0.5]]), 99).tolist()[:2] == [3, 4]
    assert largest_cluster(np.ones((4, 1)), np.ones((1, 1)), 3).tolist() == []


@pytest.mark.parametrize(("error", "n_atoms", "trusts"), [(0.1, 10, True), (1.0, 10, False), (0.1, 99, False)])
def test_stds_are_trusted_where_they_follow_the_errors(error: float, n_atoms: int, trusts: bool) -> None:
    held_back = [Atoms("H", [[x, 0.0, 0.0]]) for x in np.linspace(0.0, 5.0, 20)]
    for atoms in held_back:
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((1, 3)))
    candidates = dataclasses.replace(
        scene([0.5, 0.4, 0.3], [9.0, 8.9, 1.0], known=[0.0, 0.9]),
        committee=Uncertain(error=error),
        validation=held_back,
    )
    settings = ACQUISITIONS["when_trusted"].section(n_atoms=n_atoms, weight=0.0)
    assert WhenTrusted(settings).trusts(candidates) is trusts
    # By gain 0 and 1, which are alike; by distance 0 and 2.
    assert chosen("when_trusted", candidates, 2, n_atoms=n_atoms, weight=0.0) == ([0, 1] if trusts else [0, 2])


def test_descriptors_are_standardised_by_what_is_known() -> None:
    rows, known = standardised(np.array([[4.0]]), np.array([[0.0], [2.0]]))
    assert (rows.tolist(), known.tolist()) == ([[3.0]], [[-1.0], [1.0]])
    alone, one = standardised(np.array([[2.0], [4.0]]), np.array([[0.0]]))  # one frame has no spread of its own
    assert np.square(np.concatenate([alone, one])).mean() == pytest.approx(1.0)
