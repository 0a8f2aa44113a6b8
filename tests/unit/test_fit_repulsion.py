"""What the repulsion between close nuclei does to a training: nothing, but it needs to know the frames."""

import numpy as np
import pytest
import torch

from mollifield_train.training.members import load_members
from mollifield_train.training.run import train

from .fitting import labelled_water, later_export, no_export, tiny_config, with_export  # noqa: F401  (fixtures)


@pytest.fixture(scope="module")
def images():
    return labelled_water(16)


def test_repulsion_is_not_felt_in_training(tmp_path, images):
    models = [
        train(tiny_config(tmp_path, images, str(zbl), model={"zbl": zbl}), progress=False).model
        for zbl in (False, True)
    ]
    for without, with_repulsion in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(with_repulsion, without, rtol=1e-9, atol=1e-12)


def test_repulsion_makes_room_for_nearer_atoms(tmp_path, images):
    """A warm start takes over the shortest distances of its own frames, where they are shorter."""
    first = train(tiny_config(tmp_path, images, "first", optimiser={"epochs": 1}), progress=False).model
    squeezed = [atoms.copy() for atoms in images]
    for atoms, image in zip(squeezed, images, strict=True):
        atoms.positions *= 0.9
        atoms.calc = image.calc
    (tmp_path / "nearer").mkdir()
    config = tiny_config(tmp_path / "nearer", squeezed, optimiser={"epochs": 1})
    second = train(config, initial=tmp_path / "first", progress=False).model
    before, after = (np.array(model.architecture.shortest_distances) for model in (first, second))
    near = before < 2.0
    assert near.any()
    assert (after <= before).all()
    np.testing.assert_allclose(after[near], 0.9 * before[near], rtol=0.05)
    again = load_members(config.directory)
    assert again.architecture.shortest_distances == second.architecture.shortest_distances
