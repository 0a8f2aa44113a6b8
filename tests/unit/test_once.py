"""A training run reads each file once and searches the edges of each frame once."""

from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import vesin
from ase import Atoms
from ase.build import bulk

from mollifield.neighbours import find_edges
from mollifield_train.config import LossConfig, validated
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import Frame
from mollifield_train.data.nearby import Nearby
from mollifield_train.evaluate import evaluate_file
from mollifield_train.predict import displaced_surface, predict
from mollifield_train.training.loading import load_data
from mollifield_train.training.members import build_potential
from mollifield_train.training.objective import Objective, skin_of
from mollifield_train.training.run import export_run, train
from mollifield_train.training.run_directory import CONFIG_FILE, LAST_CHECKPOINT, MEMBERS_FILE

from .fitting import labelled_water, later_export, no_export, tiny_config, with_export  # noqa: F401  (fixtures)

COORDINATE = {"weight": 0.01, "width": 0.05, "every": 1}
JOINT = COORDINATE | {"displacement": "joint"}
MOLLIFIERS = [
    COORDINATE,
    JOINT,
    COORDINATE | {"kernel": "compact", "width": 0.3},
    COORDINATE | {"integral": "quadrature", "nodes": 3},
]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a file of frames and a file of tensors was read, by name, and edges were searched."""
    counts: Counter[str] = Counter()

    def counting(owner: object, name: str, key: object) -> None:
        original = getattr(owner, name)

        def call(*arguments: object, **named: object) -> object:
            counts[key(*arguments)] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    counting(vesin.NeighborList, "compute", lambda *_: "searches")
    counting(ase.io, "iread", lambda path, *_: Path(path).name)
    counting(torch, "load", lambda path, *_: Path(path).name)
    return counts


@pytest.mark.usefixtures("with_export")
def test_training_exports_and_errors(tmp_path, counted):
    """Steps, errors, reference frames, splines and latent references all take the edges that were found first."""
    config = tiny_config(tmp_path, labelled_water(9), loss={"mollifier": COORDINATE})
    result = train(config, progress=False)
    assert counted == {"frames.xyz": 1, "searches": 9}
    counted.clear()
    export_run(result.directory, tmp_path / "again.pt")
    assert counted == {"frames.xyz": 1, "searches": 9, MEMBERS_FILE: 1}
    counted.clear()
    evaluate_file(tmp_path / "again.pt", tmp_path / "frames.xyz")
    assert counted == {"frames.xyz": 1, "searches": 9}


@pytest.mark.parametrize("way", ["together", "one_by_one"])
def test_continued_runs(tmp_path, counted, way):
    config = tiny_config(tmp_path, labelled_water(9), committee={"training": way}, optimiser={"epochs": 1})
    train(config, progress=False)
    counted.clear()
    train(config, resume=True, progress=False)
    checkpoints = 1 if way == "together" else config.committee.n_members
    assert counted == {"frames.xyz": 1, "searches": 9, LAST_CHECKPOINT.name: checkpoints}
    assert (Path(config.directory) / CONFIG_FILE).is_file()


@pytest.mark.parametrize("mollifier", MOLLIFIERS, ids=["coordinate", "joint", "compact", "quadrature"])
@pytest.mark.parametrize("box", [None, 3.4], ids=["molecule", "crystal"])
def test_loss_is_that_of_fresh_searches(tmp_path, counted, box, mollifier):
    """The skin is that of the config; without one every displaced frame is searched."""
    config = tiny_config(tmp_path, labelled_water(4, box=box), data={"valid_fraction": 0.0})
    loss = validated(LossConfig, {"mollifier": mollifier}, "test")
    data = load_data(config)
    model = build_potential(config, data.statistics, 0, 2)
    objective = Objective(loss, 1.0, seed=3)
    terms = []
    for skin in (0.0, skin_of(loss, model.r_max)):
        graphs = build_graphs([graph.frame for graph in data.training], model.species, model.r_max, skin)
        batch = collate(graphs)
        counted.clear()
        found = objective.mollifier_loss(model, batch, predict(model, batch, create_graph=True), 0, 0.0)
        terms.append([found, *torch.autograd.grad(found.sum(), list(model.parameters()), allow_unused=True)])
        assert bool(counted["searches"]) == (skin == 0.0)
    for fresh, cut in zip(*terms, strict=True):
        if fresh is not None:
            torch.testing.assert_close(cut, fresh, rtol=1e-10, atol=1e-12)


def edges(index: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Rows (i, j, x, y, z), in an order of their own."""
    rows = np.column_stack([index.T, vectors.round(9)])
    return rows[np.lexsort(rows.T)]


def silicon() -> Atoms:
    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.parametrize("r_max", [3.0, 6.0])
def test_displaced_edges_are_those_of_a_search(r_max):
    """Also in cells smaller than the cutoff; beyond the skin there is no answer, and none for atoms in one place."""
    atoms = silicon()
    wide = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, r_max + 0.5)
    nearby = Nearby(wide.edge_index, wide.edge_vectors, 0.5)
    expected = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, r_max)
    np.testing.assert_array_equal(edges(*nearby.within(r_max)), edges(*expected[:2]))
    rng = np.random.default_rng(0)
    for _ in range(20):
        displacement = rng.uniform(-0.14, 0.14, size=(len(atoms), 3))
        moved = find_edges(atoms.positions + displacement, atoms.cell.array, atoms.pbc, r_max)
        found = nearby.displaced(displacement, r_max)
        assert found is not None
        np.testing.assert_allclose(edges(*found), edges(*moved[:2]), atol=2e-9)
    everywhere = np.full((len(atoms), 3), 7.0)  # a translation brings nobody nearer
    assert nearby.displaced(everywhere, r_max) is not None
    everywhere[3, 0] -= 0.51
    assert nearby.displaced(everywhere, r_max) is None


def test_atoms_in_one_place_are_left_to_the_search():
    nearby = Nearby(np.array([[0, 1], [1, 0]]), np.array([[0.4, 0, 0], [-0.4, 0, 0]]), skin=0.5)
    assert nearby.displaced(np.array([[0.0, 0, 0], [-0.4, 0, 0]]), 3.0) is None
    assert nearby.displaced(np.array([[0.0, 0, 0], [-0.3, 0, 0]]), 3.0) is not None


def test_beyond_the_skin_neighbours_are_searched(tmp_path, counted):
    """The numbers are those of a search, for the frame that moved too far; the other keeps its list."""
    config = tiny_config(tmp_path, labelled_water(2), data={"valid_fraction": 0.0})
    data = load_data(config)
    model = build_potential(config, data.statistics, 0, 2)
    frames = [graph.frame for graph in data.training]
    displacement = torch.zeros(1, 6, 3, dtype=torch.float64)
    displacement[0, 1, 0], displacement[0, 4, 2] = 0.3, 0.1
    gradients, searches = [], []
    for skin in (0.0, 0.2):
        batch = collate(build_graphs(frames, model.species, model.r_max, skin))
        counted.clear()
        gradients.append(displaced_surface(model, batch)(displacement).gradient)
        searches.append(counted["searches"])
    assert searches == [2, 1]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_skin_follows_the_displacements():
    def skin(**mollifier: object) -> float:
        return skin_of(validated(LossConfig, {"mollifier": mollifier}, "test"), 5.0)

    assert skin(width=0.05) == pytest.approx(0.25)
    assert skin(width=0.05, displacement="joint") == pytest.approx(0.5)
    assert skin(width=0.3, kernel="compact") == 0.3
    assert skin(width=3.0) == 1.0  # a fifth of the cutoff
    assert skin(weight=0.0) == skin_of(validated(LossConfig, {"mollifier": None}, "test"), 5.0) == 0.0
    scaled = validated(LossConfig, {"units": "scaled", "length_scale": 0.5, "mollifier": {"width": 0.2}}, "test")
    assert skin_of(scaled, 5.0) == pytest.approx(0.5)


def test_frames_without_labels_keep_their_geometry():
    frame = Frame.unlabelled(silicon(), "memory")
    assert frame.labels == [] and frame.symbols == ["Si"] * 16
    np.testing.assert_array_equal(frame.positions, silicon().positions)
