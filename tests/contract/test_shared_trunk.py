"""Samples on one trunk are the models that they are one by one, in memory and in a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from mollifield import MollifieldCalculator, load_artefact
from mollifield.potential import evaluate
from mollifield.verification import describe
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import Frame
from mollifield_train.export import export
from mollifield_train.model.samples import initialise, member_state, one_member, stack_members
from mollifield_train.predict import predict
from mollifield_train.uncertainty.draws import affine_basis

from ..conftest import build_potential, eager_engine, ethanol, exported_engine, sheared_crystal
from .samples import paired_samples, sampled_potential, separately, trunk

FRAMES = [ethanol, sheared_crystal]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "model.pt"
    export(sampled_potential(), path, [ethanol()], splines=False, training_frames=[ethanol(), sheared_crystal()])
    return path


def expected(atoms: Atoms) -> list[np.ndarray]:
    """Energies [S], forces [S, N, 3] and virials [S, 3, 3] of whole members, one by one."""
    answers = [eager_engine(single)(atoms) for single in separately(sampled_potential())]
    return [np.concatenate([getattr(a, name) for a in answers]) for name in ("energies", "forces", "virial")]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_file_gives_what_whole_members_give(file: Path, frame) -> None:
    answer = exported_engine(file)(frame())
    for found, wanted in zip((answer.energies, answer.forces, answer.virial), expected(frame()), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-10)
    assert answer.forces.std(axis=0).max() > 1e-3


def test_without_the_linear_part_they_are_a_committee() -> None:
    """The same weights written out as members of an ordinary committee, which has one copy of the trunk each."""
    samples = sampled_potential()
    state = member_state(samples)
    state.pop("readout.weight_3").zero_()
    committee = build_potential(torch.float64, 4, zbl=True, correlation=2, messages="scattered")
    for name, tensor in member_state(committee).items():
        tensor.copy_(state[name])
    batch = collate(build_graphs([Frame.unlabelled(f(), "frame") for f in FRAMES], samples.species, samples.r_max))
    found, wanted = predict(samples, batch, virials=True), predict(committee, batch, virials=True)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-10)


def test_mean_is_the_mean_of_the_samples(file: Path) -> None:
    atoms = sheared_crystal()
    arguments = (load_artefact(file), atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc)
    mean, samples = evaluate(*arguments), evaluate(*arguments, members=True, atomic_virials=True)
    np.testing.assert_allclose(mean.forces[0], samples.forces.mean(0), atol=1e-10)
    np.testing.assert_allclose(mean.virial[0], samples.virial.mean(0), atol=1e-9)
    np.testing.assert_allclose(samples.atomic_virials.sum(1), samples.virial, atol=1e-9)
    assert samples.latent.shape == mean.latent.shape == (1, len(atoms), 8)


def test_a_sample_by_itself(file: Path) -> None:
    """As a file's member, and as a model."""
    atoms, all_of_them = sheared_crystal(), expected(sheared_crystal())
    artefact = load_artefact(file)
    member = artefact.member(2)
    assert artefact.shared_trunk and artefact.format_version == 3 and member.n_members == 1
    assert "4, samples on one trunk" in describe(artefact)
    out = evaluate(member, atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc, True)
    np.testing.assert_allclose(out.forces[0], all_of_them[1][2], atol=1e-10)
    # Every tensor of the file with a dimension of samples is named, and no other.
    state = {**dict(artefact.whole.named_parameters()), **dict(artefact.whole.named_buffers())}
    named = set(artefact.whole.member_tensors)
    assert named == {name for name, tensor in state.items() if tensor.shape[:1] == (4,)}
    assert {name.split(".")[1] for name in named} == {"readout", "atomic_shifts", "energy_scale"}


def test_covariances_turn_with_the_frame(file: Path) -> None:
    """R C R^T, in every atom, trace the same; and inside of the training data, where the samples alone speak."""
    calc = MollifieldCalculator(file)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    atoms, turned = ethanol(), ethanol()
    turned.positions = turned.positions @ rotation.T
    c = calc.get_property("forces_cov", atoms)
    np.testing.assert_allclose(
        calc.get_property("forces_cov", turned), np.einsum("ab,nbc,dc->nad", rotation, c, rotation), atol=1e-10
    )
    assert np.trace(c, axis1=1, axis2=2).min() > 1e-8


def test_splines_and_scale(tmp_path: Path) -> None:
    """A table for the one trunk; another energy scale changes nothing."""
    samples = sampled_potential()
    before = predicted(samples)
    samples.rescale(0.7)
    torch.testing.assert_close(predicted(samples), before, rtol=1e-12, atol=1e-10)
    export(samples, tmp_path / "model.pt", [ethanol()])
    found = exported_engine(tmp_path / "model.pt")(ethanol())
    np.testing.assert_allclose(found.forces, before.numpy(), atol=1e-4)


def predicted(model) -> torch.Tensor:
    graphs = build_graphs([Frame.unlabelled(ethanol(), "frame")], model.species, model.r_max)
    return predict(model, collate(graphs)).forces


def test_weights_of_the_trunk_are_member_0s() -> None:
    samples = trunk().sampled(torch.zeros(3, 24, dtype=torch.float64))
    initialise(samples, 7)
    single = trunk()
    initialise(single, 7)
    for name, tensor in member_state(single).items():
        torch.testing.assert_close(one_member(samples, 0).state_dict()[name], tensor)
    assert not one_member(samples, 2).readout.weight_3.any()


def test_samples_are_not_stacked() -> None:
    with pytest.raises(ValueError, match="samples on one trunk cannot be stacked"):
        stack_members([sampled_potential(), sampled_potential()])


@pytest.mark.parametrize("n_samples", [4, 6, 16])
def test_pairs_take_a_backward_pass_each_and_one_more(n_samples: int, tmp_path: Path, monkeypatch) -> None:
    """All numbers are those of a file that knows of no basis."""
    samples, basis = paired_samples(n_samples)
    assert len(basis.members) == n_samples // 2 + 1
    np.testing.assert_allclose(basis.mixing.sum(1), 1.0, atol=1e-12)
    paths = tmp_path / "with.pt", tmp_path / "without.pt"
    for path, of in zip(paths, (basis, None), strict=True):
        export(samples, path, [ethanol()], splines=False, basis=of)
    found, wanted = (exported_engine(path)(sheared_crystal()) for path in paths)
    for name in ("energies", "forces", "virial"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-11, atol=1e-10)
    assert np.asarray(wanted.forces).std(axis=0).max() > 1e-3
    artefact, atoms, passes = load_artefact(paths[0]), ethanol(), []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: passes.append(1) or grad(*a, **k))
    evaluate(artefact, list(atoms.symbols), atoms.positions, atoms.cell.array, atoms.pbc, members=True)
    assert len(passes) == n_samples // 2 + 1


def test_one_of_a_pair_is_a_model_of_its_own(tmp_path: Path) -> None:
    samples, basis = paired_samples(4)
    export(samples, tmp_path / "model.pt", [ethanol()], splines=False, basis=basis)
    artefact = load_artefact(tmp_path / "model.pt")
    atoms = ethanol()
    frame = atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc
    every = evaluate(artefact, *frame, members=True)
    for member in range(4):
        own = evaluate(artefact.member(member), *frame, members=True)
        np.testing.assert_allclose(own.forces[0], every.forces[member], atol=1e-10)


def test_samples_that_do_not_follow_from_others_have_no_basis() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    assert affine_basis(drawn) is None
    many = affine_basis(torch.randn(30, 8, generator=generator, dtype=torch.float64))
    assert many is not None and len(many.members) == 9
    assert affine_basis(torch.ones(3, 8)) is not None  # all alike: one is enough
