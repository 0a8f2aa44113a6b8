"""Weights of frames count in every term of the loss."""

import dataclasses

import pytest
import torch

from mollifield_train.config import LossConfig
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import Frame, frames_from_atoms
from mollifield_train.predict import BatchPrediction
from mollifield_train.training.objective import Objective

from .fitting import labelled_water


@pytest.mark.parametrize("measure", ["squares", "lengths"])
def test_a_frame_of_weight_two_and_one_of_none_are_the_one(measure: str) -> None:
    frames = frames_from_atoms(labelled_water(2, box=6.0), "memory")

    def loss(chosen: list[Frame], bootstrap: torch.Tensor | None = None) -> torch.Tensor:
        batch = collate(build_graphs(chosen, ["H", "O"], 3.0))
        zeros = batch.energies.new_zeros
        prediction = BatchPrediction(zeros(2, len(chosen)), zeros(2, len(batch.types), 3), zeros(2, len(chosen), 3, 3))
        return Objective(LossConfig(measure=measure), 1.0, 0).data_loss(prediction, batch, bootstrap)

    weighted = [dataclasses.replace(frame, weight=weight) for frame, weight in zip(frames, (2.0, 0.0), strict=True)]
    alone = loss(frames[:1])
    torch.testing.assert_close(loss(weighted), alone)
    assert not torch.allclose(loss(frames), alone)
    drawn = torch.tensor([[1.0, 5.0], [3.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(loss(weighted, drawn), alone * torch.tensor([1.0, 3.0], dtype=torch.float64))
