"""What a fit makes of its data: partial labels, kept sides, scales, shifts, and what the file says of them."""

import dataclasses
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield import MollifieldCalculator, load_artefact
from mollifield.verification import describe
from mollifield_train.config import LossConfig, validated
from mollifield_train.data.batches import collate
from mollifield_train.data.frames import frames_from_atoms
from mollifield_train.evaluate import evaluate_file
from mollifield_train.metrics import error_summary
from mollifield_train.model.samples import member_state
from mollifield_train.predict import predict
from mollifield_train.tensor_file import read_tensors, write_tensors
from mollifield_train.training.loading import load_data
from mollifield_train.training.members import build_potential, load_members, warm_start
from mollifield_train.training.objective import Objective
from mollifield_train.training.run import TrainResult, export_run, refresh_scale, train
from mollifield_train.training.run_directory import LAST_CHECKPOINT, MEMBERS_FILE

from .fitting import labelled_water, later_export, no_export, tiny_config, with_export  # noqa: F401  (fixtures)

ONE_EPOCH = {"epochs": 1}


def fit(config, **options) -> tuple[TrainResult, list[str]]:
    notes: list[str] = []
    return train(config, progress=False, report=notes.append, **options), notes


def only(label: str, images: list[Atoms]) -> list[Atoms]:
    """The frames with one label of theirs."""
    kept = []
    for atoms in images:
        bare = atoms.copy()
        bare.calc = SinglePointCalculator(bare, **{label: atoms.calc.results[label]})
        kept.append(bare)
    return kept


def contents(images: list[Atoms]) -> set[str]:
    return {frame.content for frame in frames_from_atoms(images, "memory")}


@pytest.mark.parametrize(("label", "other"), [("energy", "forces"), ("forces", "energy")])
def test_frames_with_one_label_train_as_if_the_other_weighed_nothing(tmp_path, label, other):
    images = labelled_water(8)
    full, partial = tmp_path / "full", tmp_path / "partial"
    full.mkdir()
    partial.mkdir()
    shifts = {"shifts": {"H": -1.0, "O": -8.0}}
    options = {"data": {"valid_fraction": 0.0}, "model": shifts, "loss": {other: 0.0}}
    expected, _ = fit(tiny_config(full, images, **options))
    found, notes = fit(tiny_config(partial, only(label, images), **options | {"loss": {}}))
    assert f"data: 8 of 8 frames have no {other} and count for what they have" in " ".join(notes)
    if label == "forces":  # the scale of the energies is that of the forces
        for name, tensor in expected.model.state_dict().items():
            torch.testing.assert_close(found.model.state_dict()[name], tensor, rtol=1e-9, atol=1e-9)
    assert {key.split("_")[0] for key in found.metrics["train"]} == {label}


def test_frames_with_different_labels_train_together(tmp_path):
    images = labelled_water(6, box=5.0)
    mixed = [*images[:2], *only("energy", images[2:4]), *only("forces", images[4:])]
    config = tiny_config(tmp_path, mixed, data={"valid_fraction": 0.0}, optimiser={"epochs": 60, "learning_rate": 0.02})
    result, _ = fit(config)
    start, _ = fit(tiny_config(tmp_path, mixed, "start", data={"valid_fraction": 0.0}, optimiser=ONE_EPOCH))
    for key in ("energy_rmse_mev_per_atom", "forces_rmse_mev_per_A", "stress_rmse_mev_per_A3"):
        assert result.metrics["train"][key] < 0.6 * start.metrics["train"][key]


@pytest.mark.usefixtures("with_export")
def test_partial_labels_are_evaluated(tmp_path):
    images = labelled_water(4)
    result, _ = fit(tiny_config(tmp_path, images, data={"valid_fraction": 0.0}, optimiser=ONE_EPOCH))
    path = tmp_path / "mixed.xyz"
    ase.io.write(path, [*only("energy", images[:1]), *only("forces", images[1:])])
    model = result.directory / "model.pt"
    summary = error_summary(evaluate_file(model, path))
    whole = evaluate_file(model, tmp_path / "frames.xyz")
    expected = error_summary(whole[1:])["forces_rmse_mev_per_A"]
    assert summary["forces_rmse_mev_per_A"] == pytest.approx(expected, rel=1e-9)
    assert summary["energy_rmse_mev_per_atom"] == pytest.approx(
        error_summary(whole[:1])["energy_rmse_mev_per_atom"], rel=1e-9
    )


def test_labels_without_weight_are_an_error(tmp_path):
    images = only("energy", labelled_water(4))
    with pytest.raises(ValueError, match="the training frames have energy only, and the loss gives no weight to that"):
        fit(tiny_config(tmp_path, images, loss={"energy": 0.0}))


def test_a_warm_start_never_validates_with_what_it_learnt(tmp_path):
    """Eight frames, all trained on; 32 more: none of the eight is for validation, three rounds on."""
    images = labelled_water(60)
    before, folder = None, tmp_path
    seen: set[str] = set()
    for n in (7, 40, 60):
        folder = tmp_path / str(n)
        folder.mkdir()
        config = tiny_config(folder, images[:n], optimiser=ONE_EPOCH)
        result, notes = fit(config, initial=before)
        content = read_tensors(result.directory / MEMBERS_FILE)
        validation = contents(images[:n]) - set(content["trained_on"])
        assert not validation & seen and bool(validation) == (n > 7)
        seen |= set(content["trained_on"])
        if before is not None:
            stay = len(set(content["trained_before"]) & contents(images[:n]))
            assert f"data: {stay} of {n} frames were trained on by the initial model and stay training frames" in notes
        else:
            assert any("all 7 frames are trained on" in note and "from 8 frames on" in note for note in notes)
        before = result.directory
    # The run's own split, once it is over: `export` reads the frames again.
    data = load_data(config, load_members(before), content["trained_before"])
    assert len(data.validation) == result.metrics["n_valid"]


def test_a_continued_warm_start_keeps_its_split(tmp_path):
    images = labelled_water(40)
    (tmp_path / "first").mkdir()
    first, _ = fit(tiny_config(tmp_path / "first", images[:7], optimiser=ONE_EPOCH))
    config = tiny_config(tmp_path, images, optimiser={"epochs": 2})
    whole, _ = fit(config, initial=first.directory)
    (whole.directory / MEMBERS_FILE).unlink()
    again, _ = fit(config, resume=True)
    assert again.metrics == whole.metrics


def test_explicit_validation_frames_that_were_trained_on_are_named(tmp_path):
    images = labelled_water(8)
    ase.io.write(tmp_path / "valid.xyz", images[6:])
    config = tiny_config(tmp_path, images, data={"valid": str(tmp_path / "valid.xyz")}, optimiser=ONE_EPOCH)
    _, notes = fit(config)
    assert any("2 of 2 validation frames are trained on" in n and "frames 0, 1 of" in n for n in notes)


def test_validation_teaches_no_element(tmp_path):
    images, other = labelled_water(8), labelled_water(1, seed=5)[0]
    results, other.symbols[0] = other.calc.results, "S"
    other.calc = SinglePointCalculator(other, **results)
    ase.io.write(tmp_path / "valid.xyz", [images[0], other])
    config = tiny_config(tmp_path, images, data={"valid": str(tmp_path / "valid.xyz")})
    with pytest.raises(
        ValueError, match=r"frame 1 of .*valid\.xyz: a validation frame with S, which no training frame"
    ):
        fit(config)


def test_energies_survive_another_scale(tmp_path):
    config = tiny_config(tmp_path, labelled_water(4), data={"valid_fraction": 0.0})
    data = load_data(config)
    small = dataclasses.replace(data.statistics, force_scale=0.0055)
    model = build_potential(config, small, 0, 2)
    batch = collate(data.training)
    before = predict(model, batch)
    assert refresh_scale(model, 0.008) == []
    (note,) = refresh_scale(model, 1.2)
    assert "1.2 eV/Å now, the initial model's was 0.0055" in note
    assert (model.energy_scale == 1.2).all()
    after = predict(model, batch)
    torch.testing.assert_close(after.energies, before.energies, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after.forces, before.forces, rtol=1e-12, atol=1e-15)


def test_a_warm_start_takes_over_the_scale_of_its_data(tmp_path):
    relaxed = labelled_water(1)
    relaxed[0].calc.results["forces"] *= 1e-4
    (tmp_path / "first").mkdir()
    first, _ = fit(tiny_config(tmp_path / "first", relaxed, optimiser=ONE_EPOCH))
    assert first.model.energy_scale.unique().tolist() == [0.3]
    config = tiny_config(tmp_path, labelled_water(8), optimiser=ONE_EPOCH)
    second, notes = fit(config, initial=first.directory)
    assert second.model.energy_scale[0] == load_data(config).statistics.force_scale > 0.6
    assert any("the initial model's was 0.3" in note for note in notes)


def isolated(symbol: str, energy: float) -> Atoms:
    atom = Atoms(symbol)
    atom.calc = SinglePointCalculator(atom, energy=energy, forces=np.zeros((1, 3)))
    return atom


def test_isolated_atoms_set_the_shifts(tmp_path):
    images = labelled_water(8)
    both = [isolated("H", -1.5), *images, isolated("O", -6.0)]
    for name, given, fitted in (("both", both, ()), ("one", both[:-1], ("O",))):
        (tmp_path / name).mkdir()
        result, notes = fit(tiny_config(tmp_path / name, given, optimiser={"epochs": 2}))
        assert (result.model.atomic_shifts[:, 0] == -1.5).all()
        assert bool((result.model.atomic_shifts[:, 1] != -6.0).all()) == bool(fitted)
        assert not any("isolated" in note or "tell" in note for note in notes)
    (tmp_path / "ignored").mkdir()
    _, notes = fit(tiny_config(tmp_path / "ignored", both, model={"shifts": "least_squares"}, optimiser=ONE_EPOCH))
    assert any("isolated atoms of H, O are not used" in note for note in notes)


def test_the_file_says_what_it_learnt(tmp_path, exporting):
    images = labelled_water(4, box=5.0)
    (tmp_path / "stress").mkdir()
    options = {"data": {"valid_fraction": 0.0}, "optimiser": ONE_EPOCH}
    config = tiny_config(tmp_path, [*images, isolated("H", -1.0)], loss={"stress": 0.0}, **options)
    unseen, _ = fit(config)
    exporting()
    seen, notes = fit(tiny_config(tmp_path / "stress", images, **options))
    assert any("do not tell the energies of H, O apart" in note for note in notes)
    artefact = load_artefact(seen.directory / "model.pt")
    assert artefact.labels == ["energy", "forces", "stress"]
    assert artefact.undetermined_species == ["H", "O"]
    assert "trained on     energy, forces, stress\nundetermined   H, O (" in describe(artefact)
    export_run(unseen.directory, tmp_path / "unseen.pt")
    artefact = load_artefact(tmp_path / "unseen.pt")
    assert artefact.labels == ["energy", "forces"] and artefact.undetermined_species == []
    assert "undetermined   none" in describe(artefact)
    check_calculator(seen.directory / "model.pt", tmp_path / "unseen.pt", images[0])


def check_calculator(seen: Path, unseen: Path, atoms: Atoms) -> None:
    """A stress that was never learnt is warned of, once, even where it was computed with the forces."""
    atoms = atoms.copy()
    atoms.calc = MollifieldCalculator(seen)
    atoms.get_stress()
    atoms.calc = MollifieldCalculator(unseen)
    atoms.get_forces()
    with pytest.warns(
        UserWarning, match=r"unseen\.pt: no stress was among its training labels \(energy, forces\)"
    ) as all_:
        atoms.get_stress()
        atoms.rattle(0.01)
        atoms.get_stress()
    assert len(all_) == 1


def test_stress_counts_by_default_where_there_is_one(tmp_path):
    """The automatic weight does not depend on the volume that a virial is divided by."""
    gradients = []
    for box in (5.0, 10.0):  # beyond the cutoff, so that only the volume differs
        folder = tmp_path / str(box)
        folder.mkdir()
        config = tiny_config(folder, labelled_water(4, box=box), data={"valid_fraction": 0.0})
        data = load_data(config)
        assert data.labels == ["energy", "forces", "stress"]
        model = build_potential(config, data.statistics, 0, 2)
        objective = Objective(config.loss, data.statistics.force_scale, 0)
        batch = collate(data.training)
        assert objective.needs_virials(batch)
        prediction = predict(model, batch, create_graph=True, virials=True)
        losses = objective.data_loss(prediction, batch)
        without = Objective(validated(LossConfig, {"stress": 0.0}, "test"), 1.0, 0).data_loss(prediction, batch)
        assert (losses > without).all()
        gradients.append(torch.autograd.grad(losses.sum(), model.readout.weight_2)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-9)
    data = load_data(tiny_config(tmp_path, labelled_water(4)))
    assert data.labels == ["energy", "forces"] and not objective.needs_virials(collate(data.training))


@pytest.mark.parametrize(("schedule", "ends_before"), [("cosine", False), ("constant", True)])
def test_patience_waits_for_the_schedule(tmp_path, schedule, ends_before):
    """Nothing improves: a constant rate ends after the patience, a falling one not before it has fallen."""
    options = {"epochs": 40, "patience": 3, "learning_rate": 1e-300, "ema_decay": 0.0, "schedule": schedule}
    result, _ = fit(tiny_config(tmp_path, labelled_water(16), optimiser=options))
    (epochs,) = result.metrics["epochs"]
    assert epochs == 4 if ends_before else 32 < epochs < 40


def test_run_that_names_no_kind_of_model_is_continued(tmp_path):
    """Begun before there was a choice."""
    config = tiny_config(tmp_path, labelled_water(6), optimiser=ONE_EPOCH)
    train(config, progress=False)
    path = Path(config.directory) / LAST_CHECKPOINT
    content = read_tensors(path)
    assert content["config"]["model"].pop("kind") == "equivariant"
    for name in ("potential", "best"):
        del content[name]["settings"]["kind"]
    write_tensors(path, content)
    assert train(config, resume=True, progress=False).metrics["epochs"] == [1]


def test_warm_start_computes_as_the_config_says(tmp_path):
    """Weights fit whatever computes them."""
    first = train(tiny_config(tmp_path, labelled_water(6), "first", optimiser=ONE_EPOCH), progress=False)
    model, _ = warm_start(
        tiny_config(tmp_path, labelled_water(6), "second", model={"backend": "e3nn"}), first.directory
    )
    assert (first.model.backend, model.backend) == ("native", "e3nn")
    for name, tensor in member_state(first.model).items():
        assert torch.equal(member_state(model)[name], tensor), name
