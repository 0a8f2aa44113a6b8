"""A model that never saw a stress warns once where the virial moves the box."""

import pytest
import torch

from mollifield_train.export import export

from ..conftest import build_potential, sheared_crystal
from .committee import start

NPT = "fix n all npt temp 300 300 0.1 iso 0 0 1\nrun 0\n"
WARNING = "moves the box by the virial, but model"


@pytest.fixture
def labelled_model(tmp_path):
    """Exports a file that says what it was trained on; None: that does not say."""

    def write(labels):
        path = tmp_path / f"{'_'.join(labels or ['silent'])}.pt"
        export(build_potential(torch.float64, 1), path, [sheared_crystal()], labels=labels)
        return path

    return write


def test_once_for_a_barostat(labelled_model, tmp_path):
    """And not for a box that is moved as the input says, nor for one that stays."""
    model = labelled_model(["energy", "forces"])
    still = "fix d all deform 1 x scale 1.01\nrun 0\nunfix d\nfix n all nve\nrun 0\nunfix n\nprint 'now'\n"
    relax = "unfix n\nfix r all box/relax iso 0\nminimize 0 0 1 1\n"
    result, _ = start(tmp_path, sheared_crystal(), model, still + NPT + relax, n_ranks=2)
    before, after = result.log.read_text().split("\nnow\n")
    assert WARNING not in before
    assert after.count(WARNING) == 1
    assert "fix n (npt) moves the box" in after
    assert "energy_forces.pt was trained on energy and forces, never on stress" in after
    result, _ = start(tmp_path, sheared_crystal(), model, relax.removeprefix("unfix n\n"))
    assert "fix r (box/relax) moves the box" in result.log.read_text()


@pytest.mark.parametrize("labels", [None, ["energy", "forces", "stress"]])
def test_not_where_stress_was_seen_or_the_file_does_not_say(labels, labelled_model, tmp_path):
    result, _ = start(tmp_path, sheared_crystal(), labelled_model(labels), NPT)
    assert WARNING not in result.log.read_text()
