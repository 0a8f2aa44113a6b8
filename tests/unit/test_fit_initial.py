"""Trainings that start from trained members: `initial` of a config, further species, other numbers of members."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms

from mollifield import load_artefact
from mollifield.artefact import save_calibrated
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import frames_from_atoms
from mollifield_train.export import export
from mollifield_train.model.protocol import Potential
from mollifield_train.predict import predict
from mollifield_train.tensor_file import read_tensors
from mollifield_train.training.members import load_members
from mollifield_train.training.run import _data_and_model, export_run, train
from mollifield_train.training.run_directory import LAST_CHECKPOINT, MEMBERS_FILE

from .fitting import history, labelled_water, later_export, no_export, power_cut, tiny_config, with_export  # noqa: F401  (fixtures)


@pytest.fixture(scope="module")
def images():
    return labelled_water(16)


@pytest.fixture(scope="module")
def sulphide(images) -> list[Atoms]:
    """Water with S in the place of O, 4 eV lower, among water as it was."""
    changed = []
    for atoms in labelled_water(8, seed=1):
        results = dict(atoms.calc.results)
        atoms.symbols[0] = "S"
        atoms.calc.atoms = atoms.copy()
        atoms.calc.results = results | {"energy": results["energy"] - 4.0}
        changed.append(atoms)
    return [*changed, *images]


def energies(model: Potential, images: list[Atoms]) -> np.ndarray:
    graphs = build_graphs(frames_from_atoms(images, "memory"), model.species, model.r_max)
    return predict(model, collate(graphs)).energies.numpy()


def test_the_config_names_what_the_argument_names(tmp_path, images):
    """By the key and by the argument, from the directory and from each of its files."""
    first = train(tiny_config(tmp_path, images, "first"), progress=False)
    expected = train(tiny_config(tmp_path, images, "argument"), initial=first.directory / MEMBERS_FILE, progress=False)
    config = tiny_config(tmp_path, images, "key", initial=str(first.directory))
    found = train(config, progress=False)
    assert history(found.directory) == history(expected.directory)
    # The checkpoint's best weights are those of members.pt, but for the shifts, which are refitted at the end.
    loaded = load_members(first.directory / LAST_CHECKPOINT)
    for name, tensor in loaded.named_parameters():
        torch.testing.assert_close(tensor, dict(first.model.named_parameters())[name])


@pytest.mark.usefixtures("with_export")
def test_an_exported_file_is_as_good_as_its_run(tmp_path, images):
    """Although its radial networks are tables; calibration, which writes the file again, included."""
    first = train(tiny_config(tmp_path, images, "first", dtype="float32"), progress=False)
    artefact = load_artefact(first.directory / "model.pt")
    assert "splines" in artefact.summary
    save_calibrated(artefact, tmp_path / "again.pt", {}, artefact.summary)
    export_run(first.directory, tmp_path / "later.pt")
    for path in (first.directory / "model.pt", tmp_path / "again.pt", tmp_path / "later.pt"):
        loaded = load_members(path)
        np.testing.assert_array_equal(energies(loaded, images), energies(first.model, images))
    config = tiny_config(tmp_path, images, "second", dtype="float32", initial=str(tmp_path / "again.pt"))
    kept = read_tensors(train(config, progress=False).directory / MEMBERS_FILE)["trained_before"]
    assert kept == sorted(read_tensors(first.directory / MEMBERS_FILE)["trained_on"])


@pytest.mark.usefixtures("with_export")
def test_a_file_without_weights_is_refused(tmp_path, images):
    first = train(tiny_config(tmp_path, images, "first", optimiser={"epochs": 1}), progress=False)
    export(first.model, tmp_path / "bare.pt", images[:1])
    config = tiny_config(tmp_path, images, "second", initial=str(tmp_path / "bare.pt"))
    with pytest.raises(ValueError, match="bare.pt: a model file without the weights as they were trained"):
        train(config, progress=False)
    with pytest.raises(ValueError, match="nothing.pt: cannot be read: No such file"):
        train(tiny_config(tmp_path, images, "third", initial=str(tmp_path / "nothing.pt")), progress=False)


def test_new_species_leave_the_old_ones_as_they_are(tmp_path, images, sulphide):
    first = train(tiny_config(tmp_path, images, "first"), progress=False)
    folder = tmp_path / "new"
    folder.mkdir()
    config = tiny_config(folder, sulphide, "second", initial=str(first.directory))
    data, model = _data_and_model(config, None)
    assert model.species == [*first.model.species, "S"] == data.statistics.species
    np.testing.assert_allclose(energies(model, images), energies(first.model, images), rtol=0, atol=1e-12)
    # The shift of S is what the known ones' leave; H and O keep theirs.
    assert model.atomic_shifts[:, :2].equal(first.model.atomic_shifts)
    oxygen, sulphur = model.atomic_shifts[:, 1], model.atomic_shifts[:, 2]
    assert ((sulphur - oxygen + 4.0).abs() < 1.0).all()
    assert any(note == "S: new to the initial model, which knows H, O" for note in data.notes)
    # Drawn as initial weights are, and each member its own.
    rows = model.embedding.species_embedding[:, 2]
    assert rows.abs().max() > 0.1 and not rows[0].equal(rows[1])

    errors = [row["train_forces_rmse_mev_per_A"] for row in history(train(config, progress=False).directory)]
    assert errors[-1] < errors[0]
    assert load_members(config.directory).species == ["H", "O", "S"]


def test_a_run_with_new_species_is_continued(tmp_path, images, sulphide, monkeypatch):
    first = train(tiny_config(tmp_path, images, "first"), progress=False)
    folder = tmp_path / "new"
    folder.mkdir()
    whole = train(tiny_config(folder, sulphide, "whole", initial=str(first.directory)), progress=False)
    config = tiny_config(folder, sulphide, "continued", initial=str(first.directory))
    with power_cut(monkeypatch):
        train(config, progress=False)
    first.directory.rename(tmp_path / "moved")
    continued = train(config.model_copy(update={"initial": str(tmp_path / "moved")}), resume=True, progress=False)
    assert history(continued.directory) == history(whole.directory)
    # From another initial model, or none, weights would mean something else.
    with pytest.raises(ValueError, match="other frames or another initial model: species was .*H.*O.*S.*, is"):
        other = train(tiny_config(folder, sulphide[:8], "other", data={"train": str(_only(folder, sulphide))}))
        train(config.model_copy(update={"initial": str(other.directory)}), resume=True, progress=False)


def _only(folder: Path, images: list[Atoms]) -> Path:
    path = folder / "sulphide.xyz"
    ase.io.write(path, images[:8], format="extxyz")
    return path


def test_a_smaller_committee_takes_the_first_members(tmp_path, images):
    first = train(tiny_config(tmp_path, images, "first"), progress=False)
    config = tiny_config(tmp_path, images, "second", committee={"n_members": 1}, initial=str(first.directory))
    _, model = _data_and_model(config, None)
    np.testing.assert_allclose(energies(model, images), energies(first.model, images)[:1], rtol=0, atol=1e-12)
    three = tiny_config(tmp_path, images, "third", committee={"n_members": 3}, initial=str(first.directory))
    with pytest.raises(ValueError, match=r"committee\.n_members is 3 here, 2 there"):
        train(three, progress=False)
