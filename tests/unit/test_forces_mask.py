"""Forces that do not count: in the loss, errors, calibration and priors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from mollifield_train.config import LossConfig
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import frames_from_atoms, read_frames
from mollifield_train.evaluation.calibration import observed
from mollifield_train.evaluation.tables import forces_by_species, largest
from mollifield_train.loss import likelihood
from mollifield_train.metrics import FrameErrors, error_summary
from mollifield_train.predict import BatchPrediction
from mollifield_train.prior.springs import fit_springs
from mollifield_train.prior.springs_config import SpringsConfig
from mollifield_train.training.error_sums import ErrorSums
from mollifield_train.training.objective import Objective

from .fitting import labelled_water
from .frames import written

MASK = [True, False, True]


def frames() -> list[Atoms]:
    """Water; of the second one the first hydrogen's force does not count, and is absurd."""
    images = labelled_water(3)
    images[1].arrays["forces_mask"] = np.array(MASK)
    images[1].calc.results["forces"][1] = 1e3
    return images


def without_it() -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted forces `[2, 9, 3]` of two members, with one and the same error in all components that count."""
    batch = collate(build_graphs(frames_from_atoms(frames(), "a.xyz"), ["H", "O"], 3.0))
    predicted = batch.forces.expand(2, -1, -1) + 0.1
    predicted[:, 4] += 50.0
    return predicted.clone(), batch.energies.expand(2, -1).clone()


@pytest.mark.parametrize("measure", ["squares", "lengths"])
def test_the_loss_and_its_errors_know_nothing_of_them(measure: str) -> None:
    batch = collate(build_graphs(frames_from_atoms(frames(), "a.xyz"), ["H", "O"], 3.0))
    forces, energies = without_it()
    forces.requires_grad_()
    prediction = BatchPrediction(energies, forces, None)
    losses = Objective(LossConfig(energy=0.0, forces=1.0, measure=measure), 1.0, 0).data_loss(prediction, batch)
    expected = 0.1**2 if measure == "squares" else 0.1 * 3**0.5
    torch.testing.assert_close(losses, torch.full((2,), expected, dtype=torch.float64), rtol=1e-4, atol=0.0)
    losses.sum().backward()
    sizes = forces.grad[0].norm(dim=1)
    assert sizes[4] == 0.0 and (sizes[[0, 1, 2, 3, 5, 6, 7, 8]] > 0.0).all()
    # What is left of the frame weighs as much as a whole frame.
    torch.testing.assert_close(sizes[3:6].sum(), sizes[:3].sum(), rtol=1e-3, atol=0.0)
    sums = ErrorSums(2)
    sums.add(prediction, batch, losses.detach())
    assert sums.row("train")["train_forces_rmse_mev_per_A"] == pytest.approx(100.0)
    args = batch.forces, batch.frame_of_atom, batch.n_atoms, None, batch.has_forces, 0
    spread = forces.detach() + torch.tensor([-0.1, 0.1])[:, None, None]
    counted = likelihood.force_term(spread, *args, batch.forces_mask)
    spread[:, 4] += 7.0
    torch.testing.assert_close(likelihood.force_term(spread, *args, batch.forces_mask), counted)


def test_errors_and_calibration_count_the_others() -> None:
    found = []
    for frame in frames_from_atoms(frames(), "a.xyz"):
        error = np.full((2, 3, 3), 0.1)
        error[:, 1] += 50.0 * (frame.forces_mask is not None)
        variance = np.full((3, 3), 0.04)
        variance[1] += 9.0 * (frame.forces_mask is not None)
        found.append(FrameErrors(np.full(2, frame.energy), frame.forces + error, None, frame, 0.1, variance))
    summary = error_summary(found)
    assert summary["forces_rmse_mev_per_A"] == pytest.approx(100.0)
    assert summary["forces_std_mev_per_A"] == pytest.approx(200.0)
    by_species = forces_by_species(found)
    assert (by_species["O"]["n_atoms"], by_species["H"]["n_atoms"]) == (3, 5)
    assert by_species["H"]["largest"] == pytest.approx(100.0)
    assert [row["error"] for row in largest(found, "forces", 3)] == pytest.approx([1e3 * 0.1 * 3**0.5] * 3)
    stds, errors = observed(found, "forces")
    assert len(stds) == 8 and np.allclose(stds, 0.12**0.5) and np.allclose(errors, 0.03**0.5)


def test_springs_are_fitted_to_the_others() -> None:
    config = SpringsConfig(kind="springs", reach=2.0)
    sound = labelled_water(3)
    sound[1].arrays["forces_mask"] = np.array(MASK)
    surfaces = []
    for images in (frames(), sound):
        graphs = build_graphs(frames_from_atoms(images, "a.xyz"), ["H", "O"], 3.0)
        surfaces.append(fit_springs(config, graphs)(graphs[0], np.full((3, 3), 0.01))[1])
    np.testing.assert_allclose(*surfaces)


def test_files_keep_the_mask(tmp_path: Path) -> None:
    path = written(tmp_path, *frames())
    read = read_frames([path])
    assert [frame.forces_mask is None for frame in read] == [True, False, True]
    assert read[1].forces_mask.tolist() == MASK
    assert read[1].largest_force < 100.0


@pytest.mark.parametrize(
    ("mask", "words"),
    [(np.zeros(3, dtype=bool), "true for some"), (np.array([1, 2, 0]), "for each atom"), (np.ones((3, 2)), "shape")],
)
def test_what_is_no_mask_is_refused(mask: np.ndarray, words: str) -> None:
    images = labelled_water(2)
    images[1].arrays["forces_mask"] = mask
    with pytest.raises(ValueError, match=f"frame 1 of a.xyz: 'forces_mask' .*{words}"):
        frames_from_atoms(images, "a.xyz")
