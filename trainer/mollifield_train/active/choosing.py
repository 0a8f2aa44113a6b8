"""Which candidates of a round to label: the two arms' rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mollifield_train.active import acquisition
from mollifield_train.active.committee import Committee
from mollifield_train.active.config import AcquisitionConfig
from mollifield_train.active.descriptors import frame_descriptor
from mollifield_train.active.store import StoredFrame

_STREAM = 7
"""Keeps the random arm's choices apart from the trajectories' random numbers."""


def choose_random(pool: Sequence[StoredFrame], n_batch: int, seed: int, round_: int, n_tried: int) -> list[StoredFrame]:
    """``n_batch`` frames of the pool at random; another ``n_tried`` draws others to replace failures."""
    rng = np.random.default_rng([seed, _STREAM, round_, n_tried])
    return [pool[index] for index in acquisition.random_choice(len(pool), n_batch, rng)]


def choose_uncertain(
    pool: Sequence[StoredFrame], n_batch: int, known: Sequence[Atoms], committee: Committee, settings: AcquisitionConfig
) -> list[StoredFrame]:
    """Frames above the threshold first; if there are too few, the most uncertain others.

    Args:
        pool: the candidates.
        n_batch: how many to choose.
        known: the labelled frames, away from which the choice is spread.
        committee: gives the space in which it is spread.
        settings: the rule for frames above the threshold.
    """
    above = [frame for frame in pool if frame.columns["source"] == "threshold"]
    rest = [frame for frame in pool if frame.columns["source"] != "threshold"]
    batch = _best(above, n_batch, known, committee, settings)
    others = acquisition.most_uncertain(_stds(rest), n_batch - len(batch))
    return batch + [rest[index] for index in others]


def _best(
    pool: Sequence[StoredFrame], n_batch: int, known: Sequence[Atoms], committee: Committee, settings: AcquisitionConfig
) -> list[StoredFrame]:
    if settings.kind == "most_uncertain" or not pool:
        return [pool[index] for index in acquisition.most_uncertain(_stds(pool), n_batch)]

    def describe(frames: Sequence[Atoms]) -> np.ndarray:
        return np.array(
            [
                frame_descriptor(committee.predict(atoms).latent, atoms.numbers, committee.species, settings.descriptor)
                for atoms in frames
            ]
        )

    descriptors, learnt = describe([frame.atoms for frame in pool]), describe(known)
    if settings.kind == "farthest_points":
        indices = acquisition.farthest_points(descriptors, n_batch, learnt)
    else:
        indices = acquisition.uncertain_then_diverse(_stds(pool), descriptors, n_batch, learnt, settings.pool_factor)
    return [pool[index] for index in indices]


def _stds(pool: Sequence[StoredFrame]) -> np.ndarray:
    return np.array([frame.columns["std"] for frame in pool])
