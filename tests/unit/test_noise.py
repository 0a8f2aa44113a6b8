"""`mollifield noise`: noise that was put into labels comes back as aleatoric, and does not as epistemic. float64.

Labels are those of the model itself, so that its mean has settled as well as can be, with noise of known size.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield import MollifieldCalculator, load_artefact
from mollifield.calibration import Array
from mollifield_train.cli import main
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import Frame
from mollifield_train.export import export, noise_head_of
from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.predict import predict
from mollifield_train.training.dropout import Dropout
from mollifield_train.training.members import load_members, pack
from mollifield_train.uncertainty.noise.noise_file import make_noise, model_in
from mollifield_train.uncertainty.posterior_file import make_posterior, update_posterior
from mollifield_train.uncertainty_config import DropoutConfig

from ..conftest import ethanol
from ..contract.samples import trunk

BY_SPECIES = np.array([0.05, 0.1, 0.2])
"""eV/Å, root of the trace of the covariance: of H, C, O."""
ENERGY_NOISE = 0.1
"""eV, times the root of the number of atoms."""
N_WEIGHTS = 24

Noise = Callable[[Array, Array], Array]
"""Types `[N]` and sizes of forces `[N]` -> stds `[N]`."""


def of_species(types: Array, forces: Array) -> Array:
    return BY_SPECIES[types]


def rising(types: Array, forces: Array) -> Array:
    return BY_SPECIES[types] + 0.2 * forces


def more_of_oxygen(types: Array, forces: Array) -> Array:
    return BY_SPECIES[types] * np.array([1.0, 1.0, 4.0])[types]


def model() -> EquivariantPotential:
    """With forces of up to 20 eV/Å."""
    potential = trunk()
    with torch.no_grad():
        potential.readout.weight_2.mul_(0.02)
    return potential


def exact(images: list[Atoms]) -> list[tuple[float, Array]]:
    """What the model says."""
    potential = model()
    frames = [Frame.unlabelled(atoms, "frame") for atoms in images]
    found = predict(potential, collate(build_graphs(frames, potential.species, potential.r_max)))
    forces = np.split(found.forces[0].numpy(), len(images))
    return list(zip(found.energies[0].tolist(), forces, strict=True))


def shaken(n: int, first: int) -> list[Atoms]:
    images = [ethanol() for _ in range(n)]
    for k, atoms in enumerate(images):
        atoms.rattle(0.05, seed=first + k)
    return images


def types_of(atoms: Atoms) -> Array:
    return np.array([["H", "C", "O"].index(symbol) for symbol in atoms.symbols])


def labelled(path: Path, n: int, first: int, noise: Noise, along: float = 0.0) -> Path:
    """With more noise `along` the force, for positive numbers."""
    rng, images = np.random.default_rng(first), shaken(n, first)
    for atoms, (energy, forces) in zip(images, exact(images), strict=True):
        size = np.linalg.norm(forces, axis=1)
        normal, direction = rng.normal(size=forces.shape), forces / size[:, None]
        normal += along * (normal * direction).sum(axis=1)[:, None] * direction
        normal *= (noise(types_of(atoms), size) / np.sqrt(2.0 + (1.0 + along) ** 2))[:, None]
        energy += ENERGY_NOISE * np.sqrt(len(atoms)) * rng.normal()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces + normal)
    ase.io.write(path, images, format="extxyz")
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a training leaves one."""
    path = tmp_path_factory.mktemp("trained") / "model.pt"
    trained = {"potential": pack(model()), "trained_before": [], "trained_on": []}
    export(model(), path, [ethanol()], splines=False, trained=trained, labels=["energy", "forces"])
    return path


@pytest.fixture(scope="module")
def noisy_file(model_file: Path) -> Path:
    """Noise that rises with the force, and is larger along it; frames of their own."""
    frames = labelled(model_file.with_name("rising.xyz"), 120, 1000, rising, along=1.0)
    out = model_file.with_name("noisy.pt")
    assert main(["noise", str(model_file), str(frames), "-o", str(out)]) == 0
    return out


def fresh() -> tuple[list[Atoms], Array, Array, list[Array]]:
    """Frames that nobody has seen: types, sizes of forces, and forces."""
    images = shaken(40, 5000)
    forces = [f for _, f in exact(images)]
    return images, np.concatenate([types_of(a) for a in images]), np.linalg.norm(np.concatenate(forces), axis=1), forces


def test_noise_by_species_is_recovered(model_file: Path, tmp_path: Path) -> None:
    """Within 15%, by either kind."""
    frames = labelled(tmp_path / "noisy.xyz", 120, 1000, of_species)
    images, types, _, _ = fresh()
    for kind in ("homoscedastic", "head"):
        make_noise(model_file, frames, tmp_path / "out.pt", kind)
        calc = MollifieldCalculator(tmp_path / "out.pt")
        stds = np.concatenate([calc.get_property("aleatoric_std", atoms) for atoms in images])
        for species, expected in enumerate(BY_SPECIES):
            assert stds[types == species].mean() == pytest.approx(expected, rel=0.15), (kind, species)
        energy = np.mean([calc.get_property("energy_aleatoric_std", atoms) for atoms in images])
        assert energy == pytest.approx(ENERGY_NOISE * 3.0, rel=0.15), kind
        assert load_artefact(tmp_path / "out.pt").has_noise_head == (kind == "head")


def test_noise_that_rises_with_the_force_is_recovered(noisy_file: Path) -> None:
    """For each species with at least two atoms in a frame; its dependence on the force, and its direction, too."""
    images, types, sizes, forces = fresh()
    calc = MollifieldCalculator(noisy_file)
    stds = np.concatenate([calc.get_property("aleatoric_std", atoms) for atoms in images])
    expected = rising(types, sizes)
    for species in range(3):
        rows = types == species
        assert np.mean(stds[rows] / expected[rows]) == pytest.approx(1.0, abs=0.15), species
    for low, high in ((0.0, 2.0), (2.0, 6.0), (6.0, 12.0), (12.0, 40.0)):
        rows = (sizes >= low) & (sizes < high) & (types < 2)
        assert rows.sum() >= 5
        assert np.mean(stds[rows] / expected[rows]) == pytest.approx(1.0, abs=0.15), (low, high)
    covariances = np.concatenate([calc.get_property("aleatoric_cov", atoms) for atoms in images])
    directions = np.concatenate(forces) / sizes[:, None]
    share = np.einsum("na,nab,nb->n", directions, covariances, directions) / stds**2
    assert share.mean() == pytest.approx(4.0 / 6.0, rel=0.1)  # of 1/3 if it had none


def test_parts_come_apart(model_file: Path, tmp_path: Path) -> None:
    """With four times the frames the epistemic std of the last layer halves; the noise of one species is not in it."""
    images = shaken(10, 5000)
    types = np.concatenate([types_of(atoms) for atoms in images])

    def parts(n: int, noise: Noise) -> tuple[Array, Array]:
        """Epistemic and aleatoric; the head is fitted once, before there is a posterior."""
        held_back, noisy = tmp_path / f"{noise.__name__}.xyz", tmp_path / f"{noise.__name__}.pt"
        if not noisy.exists():
            make_noise(model_file, labelled(held_back, 80, 1000, noise), noisy)
        train, out = labelled(tmp_path / "train.xyz", n, 0, noise), tmp_path / "out.pt"
        make_posterior(noisy, train, out, n_samples=2 * N_WEIGHTS, noise_frames=[held_back])
        calc = MollifieldCalculator(out)
        epistemic, aleatoric = (
            np.concatenate([calc.get_property(name, atoms) for atoms in images])
            for name in ("epistemic_std", "aleatoric_std")
        )
        return epistemic, aleatoric

    few, many, worse = parts(20, of_species), parts(80, of_species), parts(80, more_of_oxygen)
    assert (many[0] / few[0]).mean() == pytest.approx(0.5, rel=0.1)
    np.testing.assert_allclose(many[1], few[1], rtol=1e-3)
    assert (worse[1] / many[1])[types == 2].mean() == pytest.approx(4.0, rel=0.15)
    assert (worse[0] / many[0])[types == 2].mean() < 1.2


def test_a_head_goes_on_with_its_trunk(noisy_file: Path, tmp_path: Path) -> None:
    """Through `posterior`, `update` and `calibrate`, which change nothing of the trunk; `initial` finds its weights."""
    train = labelled(tmp_path / "train.xyz", 12, 0, rising)
    out, atoms = tmp_path / "samples.pt", shaken(1, 7)[0]
    expected = MollifieldCalculator(noisy_file).get_property("aleatoric_cov", atoms)
    make_posterior(noisy_file, train, out, n_samples=8)
    found = MollifieldCalculator(out).get_property("aleatoric_cov", atoms)
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())  # splines of their own
    update_posterior(out, labelled(tmp_path / "new.xyz", 2, 300, rising), out)
    assert main(["calibrate", str(out), str(labelled(tmp_path / "v.xyz", 8, 400, rising)), "-o", str(out)]) == 0
    moved = MollifieldCalculator(out).get_property("aleatoric_cov", atoms)  # with the mean force
    np.testing.assert_allclose(moved, expected, atol=0.05 * expected.max())
    state = model().state_dict()
    for name, tensor in load_members(out).state_dict().items():
        torch.testing.assert_close(tensor, state[name])


def test_samples_stay_as_they_are(model_file: Path, tmp_path: Path) -> None:
    """Of a posterior, whose file is written anew: everything but the noise, which replaces what it said before."""
    train = labelled(tmp_path / "train.xyz", 12, 0, of_species)
    before, after, atoms = tmp_path / "samples.pt", tmp_path / "noisy.pt", shaken(1, 7)[0]
    make_posterior(model_file, train, before, n_samples=4)
    made = make_noise(before, labelled(tmp_path / "v.xyz", 20, 1000, of_species), after, seed=1)
    a, b = MollifieldCalculator(before), MollifieldCalculator(after)
    for name in ("energy", "forces", "forces_cov", "energy_std"):
        np.testing.assert_allclose(b.get_property(name, atoms), a.get_property(name, atoms), rtol=1e-12, atol=1e-12)
    assert b.artefact.basis is not None
    assert made.n_trained == 0 and made.n_frames == 20
    make_noise(after, tmp_path / "v.xyz", tmp_path / "numbers.pt", "homoscedastic")
    assert noise_head_of(load_artefact(tmp_path / "numbers.pt")) is None
    numbers = MollifieldCalculator(tmp_path / "numbers.pt").get_property("aleatoric_std", atoms)
    np.testing.assert_allclose(numbers, made.fitted.noise.forces.numpy()[types_of(atoms)], rtol=1e-6)
    assert main(["noise", str(after), str(train), "-o", str(tmp_path / "again.pt"), "--kind", "homoscedastic"]) == 0


@pytest.mark.parametrize("where", ["readout", "everywhere"])
def test_passes_with_dropout_stay_as_they_are(where: str, tmp_path: Path) -> None:
    """Their file holds fewer trained members than it has members."""
    config = DropoutConfig(kind="mc_dropout", probability=0.2, passes=4, where=where)
    trained = {"potential": pack(model()), "trained_before": [], "trained_on": []}
    before, after, atoms = tmp_path / "passes.pt", tmp_path / "noisy.pt", shaken(1, 7)[0]
    export(Dropout(config, model(), [0]).passes(model()), before, [ethanol()], trained=trained)
    make_noise(before, labelled(tmp_path / "v.xyz", 12, 1000, of_species), after, "homoscedastic")
    a, b = MollifieldCalculator(before), MollifieldCalculator(after)
    assert a.artefact.n_members == b.artefact.n_members == 4
    for name in ("forces", "forces_cov"):
        np.testing.assert_allclose(b.get_property(name, atoms), a.get_property(name, atoms), rtol=1e-9, atol=1e-12)


def test_a_tensor_of_members_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A table may be in the place of a radial network; of all else a file has each member's."""
    config = DropoutConfig(kind="mc_dropout", probability=0.2, passes=4, where="everywhere")
    trained = {"potential": pack(model()), "trained_before": [], "trained_on": []}
    path, lost = tmp_path / "passes.pt", "layers.0.mix_in.weight"
    export(Dropout(config, model(), [0]).passes(model()), path, [ethanol()], trained=trained)
    loaded = load_artefact(path)
    stated = loaded.whole.state_dict()
    assert f"potential.{lost}" in stated and not any(".radial." in name for name in stated)
    assert model_in(loaded).n_members == 4
    del stated[f"potential.{lost}"]
    without = replace(loaded, whole=SimpleNamespace(state_dict=lambda: stated))
    with pytest.raises(ValueError, match=f"passes.pt: has no tensor '{lost}' of its 4 members"):
        model_in(without)


def test_frames_of_the_training_are_told(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their residuals are too small."""
    train = labelled(tmp_path / "train.xyz", 12, 0, of_species)
    make_posterior(model_file, train, tmp_path / "samples.pt", n_samples=4)
    command = ["noise", str(tmp_path / "samples.pt"), str(train), "-o", str(tmp_path / "out.pt")]
    assert main([*command, "--kind", "homoscedastic"]) == 0
    assert "warning: the model was trained on 12 of the 12 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    "n, options, message",
    [
        (12, ["--kind", "evidential"], "noise 'evidential' isn't known; known are homoscedastic, head"),
        (9, [], "9 frames with forces; a noise head needs 10"),
    ],
)
def test_wrong_inputs(n: int, options: list[str], message: str, model_file: Path, tmp_path: Path, capsys) -> None:
    frames = labelled(tmp_path / "frames.xyz", n, 0, of_species)
    assert main(["noise", str(model_file), str(frames), "-o", str(tmp_path / "out.pt"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.pt").exists()
