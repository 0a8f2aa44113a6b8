"""The latent space of a model file: its scale, its references, and distances to them."""

import ase.io
import numpy as np
import pytest
import torch

from mollifield import MollifieldCalculator, contract, find_edges, load_artefact
from mollifield.potential import evaluate, types_of
from mollifield.uncertainty import composition_std, latent_distance, latent_features, outside_std, relative_distance
from mollifield_train.export import export, graphs_of
from mollifield_train.latent_space import (
    farthest_atoms,
    latent_scale,
    latent_space,
    normal_densities,
    reach_of,
    with_references,
)

from ..conftest import build_potential, ethanol, sheared_crystal


def answer(artefact, atoms):
    out = evaluate(artefact, atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc, True)
    return out.latent, torch.tensor(types_of(atoms.get_chemical_symbols(), artefact.species))


def test_scale_puts_random_atoms_of_a_species_at_root_two():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(40, 6, generator=generator, dtype=torch.float64) * torch.tensor([1, 5, 0.1, 2, 9, 3.0])
    types = torch.arange(40) % 2
    features[types == 1] += 100.0  # the distance between species is no spread
    features = features * latent_scale(features, types)
    squares = [(features[types == t][:, None] - features[types == t][None]).square().sum(-1).mean() for t in (0, 1)]
    assert abs(sum(squares) / 2 - 2.0) < 1e-12


def test_features_that_training_never_moved_stay_finite():
    features = torch.zeros(10, 3, dtype=torch.float64)
    features[:, 0] = torch.arange(10)
    scale = latent_scale(features, torch.zeros(10, dtype=torch.int64))
    magnitude = features[:, 0].square().mean().sqrt()
    torch.testing.assert_close(
        scale[1] / scale[0], features[:, 0].std(correction=0) / magnitude / contract.LATENT_STD_FLOOR
    )
    assert torch.isfinite(latent_scale(torch.ones(4, 3), torch.zeros(4))).all()


def test_farthest_atoms_cover_the_ends_first():
    line = torch.tensor([[0.0], [1.0], [2.0], [3.5], [4.0], [10.0]])
    assert farthest_atoms(line, 3).tolist() == [5, 0, 4]
    assert farthest_atoms(line, 9).tolist() == [0, 1, 2, 3, 4, 5]


def test_references_are_bounded_and_near(monkeypatch):
    monkeypatch.setattr("mollifield_train.latent_space.N_REFERENCES", 5)
    potential = build_potential(torch.float64, 2)
    frames = []
    for seed in range(8):
        frames.append(sheared_crystal())
        frames[-1].rattle(0.1, seed=seed)
    space = latent_space(potential, graphs_of(frames, potential))
    types = space[contract.LATENT_TYPES]
    assert types.bincount().tolist() == [0, 5, 5]  # H C O
    assert space[contract.LATENT_REFERENCES].shape == (10, len(space[contract.LATENT_SCALE]))
    assert len(latent_space(potential, graphs_of(frames[:1], potential))[contract.LATENT_TYPES]) == 8


def test_file_keeps_what_it_was_trained_on(tmp_path):
    frames = [ethanol(), sheared_crystal()]
    export(build_potential(torch.float64, 2), tmp_path / "model.pt", [ethanol()], training_frames=frames)
    artefact = load_artefact(tmp_path / "model.pt")
    for atoms in frames:
        latent, types = answer(artefact, atoms)
        assert latent_distance(artefact.latent_space, latent, types).max() < 1e-6  # float32 references
    moved = ethanol()
    moved.rattle(0.2, seed=4)
    rotated = moved.copy()
    rotated.rotate(50, (1, 2, 3))
    distances = [latent_distance(artefact.latent_space, *answer(artefact, atoms)) for atoms in (moved, rotated)]
    assert distances[0].max() > 0.1
    torch.testing.assert_close(distances[0], distances[1], rtol=1e-8, atol=1e-8)


def test_species_without_references_is_infinitely_far(tmp_path):
    export(build_potential(torch.float64, 2), tmp_path / "model.pt", [ethanol()], training_frames=[sheared_crystal()])
    artefact = load_artefact(tmp_path / "model.pt")
    distances = latent_distance(artefact.latent_space, *answer(artefact, ethanol()))
    hydrogen = np.array(ethanol().get_chemical_symbols()) == "H"
    assert np.isinf(distances.numpy()).tolist() == hydrogen.tolist()


def test_files_without_one_still_load(model_without_latent_space):
    """Those of the first release lack the attribute; format version 1 covers both."""
    artefact = load_artefact(model_without_latent_space)
    assert not hasattr(torch.jit.load(str(model_without_latent_space)), contract.LATENT_SPACE_KEY)
    assert artefact.latent_space == {}
    latent, types = answer(artefact, ethanol())
    n_features = latent.shape[0] * latent.shape[2]
    expected = latent.permute(1, 0, 2).reshape(len(types), n_features) / n_features**0.5
    torch.testing.assert_close(latent_features({}, latent), expected)
    with pytest.raises(ValueError, match="no latent references; export it again with its training frames"):
        latent_distance({}, latent, types)


def shaken(n_frames):
    frames = [ethanol() for _ in range(n_frames)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    return frames


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A committee of which some ethanol frames are said to be the training frames."""
    path = tmp_path_factory.mktemp("taught") / "model.pt"
    export(build_potential(torch.float64, 3), path, [ethanol()], training_frames=shaken(12))
    return path


@pytest.fixture(scope="module")
def calculator(taught):
    return MollifieldCalculator(taught)


def test_reach_is_the_largest_gap_between_references():
    line = torch.tensor([[0.0], [1.0], [2.0], [5.0]], dtype=torch.float64)
    assert reach_of(line) == 3.0
    assert reach_of(0.1 * line) == contract.LATENT_REACH_FLOOR
    assert reach_of(line[:1]) == np.inf


def test_training_frames_are_inside_and_their_spread_is_the_members(calculator):
    artefact = calculator.artefact
    frame = shaken(12)[5]
    latent, types = answer(artefact, frame)
    assert outside_std(artefact.latent_space, latent, types).tolist() == [0.0] * len(frame)


@pytest.mark.parametrize("stretch", [2.0, 5.0])
def test_a_torn_molecule_is_never_certain(calculator, stretch):
    """At five times the size no atom has a neighbour: all members give no force, and agree."""
    torn = ethanol()
    torn.positions *= stretch
    artefact = calculator.artefact
    space = artefact.latent_space
    latent, types = answer(artefact, torn)
    nearest = latent_distance(space, latent, types) / space[contract.LATENT_REACH][types]
    deviation = latent_features(space, latent) - space[contract.LATENT_CENTRE][types]
    white = torch.einsum("nf,nfg->ng", deviation, space[contract.LATENT_WHITENING][types].double())
    relative = torch.maximum(nearest, white.norm(dim=1)).clamp(max=contract.LATENT_FARTHEST)
    # Of build_potential: an energy scale of 2 eV is a force of 2 eV/Å in each of three components.
    expected = (2.0 * 3**0.5) * (relative - 1.0).clamp(min=0.0).square().clamp(max=contract.OUTSIDE_LIMIT).numpy()
    assert expected.min() > 0.3
    spread = np.linalg.norm(np.std(calculator_members(artefact, torn), axis=0, ddof=1), axis=1)
    assert (spread.max() == 0.0) == (stretch == 5.0)
    std = calculator.get_property("forces_std", torn)
    np.testing.assert_allclose(std, np.hypot(spread, expected), rtol=1e-12)
    covariance = calculator.get_property("forces_cov", torn)
    np.testing.assert_allclose(np.trace(covariance, axis1=1, axis2=2), std**2)
    assert calculator.get_property("energy_std", torn) > np.linalg.norm(expected)


def calculator_members(artefact, atoms):
    return evaluate(
        artefact, atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc, True
    ).forces.numpy()


def test_a_density_ends_where_frames_end_that_it_was_not_fitted_to():
    """Correlated features: a deviation along them is ordinary, one across them is not."""
    generator = torch.Generator().manual_seed(3)
    main = torch.randn(400, 1, generator=generator, dtype=torch.float64)
    features = torch.cat([main, main + 0.1 * torch.randn(400, 1, generator=generator, dtype=torch.float64)], dim=1) / 2
    types, frame = torch.zeros(400, dtype=torch.int64), torch.arange(400) // 4
    centre, whitening = normal_densities(features, types, frame, 2)
    lengths = ((features - centre[0]) @ whitening[0]).norm(dim=1)
    assert 0.8 < float(lengths.max()) < 1.1
    along, across = (torch.tensor([[1.0, sign]], dtype=torch.float64) / 2 for sign in (1.0, -1.0))
    assert float(((along - centre[0]) @ whitening[0]).norm()) < 0.6
    assert float(((across - centre[0]) @ whitening[0]).norm()) > 3.0
    assert not whitening[1].any()  # of which nothing is known
    alone, _ = normal_densities(features[:3], types[:3], frame[:3], 2)
    assert not alone.any()


def test_new_references_bring_their_atoms_inside_and_nothing_farther_out(calculator):
    potential = build_potential(torch.float64, 3)
    space = calculator.artefact.latent_space
    new, others = ethanol(), shaken(4)
    new.positions *= 1.1
    wider = with_references(space, potential, graphs_of([new], potential))
    before, after = (relative_distance(which, *answer(calculator.artefact, new)) for which in (space, wider))
    assert before.max() > 1.0 >= after.max()
    for frame in others:
        seen = answer(calculator.artefact, frame)
        assert (relative_distance(wider, *seen) <= relative_distance(space, *seen)).all()


def test_a_single_member_knows_what_is_outside_and_files_keep_it(tmp_path):
    potential = build_potential(torch.float64, 1)
    unseen = torch.tensor([[3.0, -1.0, -4.0]], dtype=torch.float64)  # of H6 C2 O it misses 12
    export(potential, tmp_path / "one.pt", [ethanol()], training_frames=shaken(12), undetermined_compositions=unseen)
    calculator = MollifieldCalculator(tmp_path / "one.pt")
    torn = ethanol()
    torn.positions[3] += 1.5
    assert calculator.get_property("outside", torn).any()
    assert not calculator.get_property("outside", shaken(12)[5]).any()
    assert calculator.get_property("energy_outside", shaken(12)[5])
    torn.calc = calculator
    torn.get_potential_energy()
    calculator.get_property("outside", torn)
    ase.io.write(tmp_path / "torn.xyz", torn)
    back = ase.io.read(tmp_path / "torn.xyz").calc.results
    np.testing.assert_array_equal(np.array(back["outside"], dtype=bool), calculator.results["outside"])
    assert bool(back["energy_outside"])


def test_compositions_beside_the_training_ones_are_guesses():
    """Of a unit change that no training composition sees: O for two H."""
    rows = torch.tensor([[10.0, 0.0, -20.0]], dtype=torch.float64)
    assert composition_std(rows, torch.tensor([0] * 6 + [1] * 2 + [2] * 3)) == 0.0
    assert composition_std(rows, torch.tensor([0] * 6 + [1] * 2 + [2])) == pytest.approx(40.0)
    assert composition_std(rows[:0], torch.tensor([0, 1])) == 0.0


def test_files_without_a_reach_add_nothing(calculator):
    artefact = calculator.artefact
    torn = ethanol()
    torn.positions *= 5.0
    old = {
        key: artefact.latent_space[key]
        for key in (contract.LATENT_SCALE, contract.LATENT_REFERENCES, contract.LATENT_TYPES)
    }
    assert outside_std(old, *answer(artefact, torn)).tolist() == [0.0] * len(torn)


def test_a_single_perfect_crystal_knows_itself():
    """All its atoms are alike, so that their features differ by rounding alone."""
    from ase.build import bulk

    crystal = bulk("CO", "rocksalt", a=4.4, cubic=True)
    potential = build_potential(torch.float32, 2)
    space = latent_space(potential, graphs_of([crystal], potential))
    types = torch.tensor(types_of(crystal.get_chemical_symbols(), potential.species))
    edges = find_edges(crystal.positions, crystal.cell.array, crystal.pbc, potential.r_max)
    vectors = torch.tensor(edges.edge_vectors, dtype=torch.float32)[None]
    with torch.no_grad():
        latent = potential(vectors, torch.tensor(edges.edge_index), types)[contract.LATENT]
    assert outside_std(space, latent, types).max() == 0.0
