"""Which frames are chosen, and from which numbers."""

import numpy as np
import pytest

from mollifield_train.active.acquisition import farthest_points, most_uncertain, random_choice, uncertain_then_diverse
from mollifield_train.active.descriptors import frame_descriptor


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
    assert farthest_points(line, 3).tolist() == [0, 3, 2]


def test_farthest_points_avoid_what_is_known() -> None:
    line = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert farthest_points(line, 2, known=np.array([[10.0]])).tolist() == [0, 2]


@pytest.mark.parametrize("known", [None, np.array([[5.0]])])
def test_farthest_points_never_take_copies(known: np.ndarray | None) -> None:
    assert len(farthest_points(np.full((6, 1), 5.0), 4, known)) == (1 if known is None else 0)


def test_no_candidates_give_an_empty_batch() -> None:
    assert farthest_points(np.zeros((0, 3)), 4).tolist() == []
    assert uncertain_then_diverse(np.zeros(0), np.zeros((0, 3)), 4).tolist() == []


def test_diversity_acts_within_the_uncertain_ones_only() -> None:
    std = np.array([1.0, 0.9, 0.8, 0.7, 0.0])
    where = np.array([[0.0], [0.01], [0.02], [3.0], [100.0]])
    # Frame 4 is the farthest by far, but the model knows it; 1 and 2 repeat what 0 teaches.
    assert uncertain_then_diverse(std, where, 2, pool_factor=2.0).tolist() == [0, 3]
    # A pool of the batch's size leaves nothing to diversify.
    assert sorted(uncertain_then_diverse(std, where, 2, pool_factor=1.0).tolist()) == [0, 1]


@pytest.mark.parametrize("kind", ["mean", "species_mean"])
def test_descriptor_ignores_the_order_of_atoms(kind: str) -> None:
    rng = np.random.default_rng(0)
    latent, numbers = rng.normal(size=(3, 5, 4)), np.array([6, 1, 1, 8, 1])
    order = np.array([2, 0, 3, 1, 4])
    one = frame_descriptor(latent, numbers, [1, 6, 8], kind)
    other = frame_descriptor(latent[:, order], numbers[order], [1, 6, 8], kind)
    np.testing.assert_allclose(one, other, atol=1e-14)
    assert one.shape == ((12,) if kind == "mean" else (36,))


def test_species_mean_tells_species_apart_and_allows_absent_ones() -> None:
    latent = np.array([[[1.0], [2.0], [4.0]]])
    descriptor = frame_descriptor(latent, np.array([1, 1, 6]), [1, 6, 8], "species_mean")
    assert descriptor.tolist() == [1.5, 4.0, 0.0]


def test_distance_does_not_grow_with_the_committee() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 1, 4, 3))
    numbers = np.ones(4, dtype=int)

    def distance(n_members: int) -> float:
        descriptors = [frame_descriptor(np.repeat(x, n_members, axis=0), numbers, [1], "mean") for x in (a, b)]
        return float(np.linalg.norm(descriptors[0] - descriptors[1]))

    assert distance(8) == pytest.approx(distance(1), rel=1e-12)
