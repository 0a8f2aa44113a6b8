"""The study of the mollified term, at a tiny size: it runs through, goes on where it was, and measures what it says."""

import json
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from mollifield_train.durable import claimed, write_json

from .fitting import labelled_water, later_export, no_export  # noqa: F401  (fixtures)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(name="benchmark")
def imported(monkeypatch):
    """The scripts' folder is no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import mollifier

    yield mollifier
    for name in ("mollifier", "mollifier_measures", "mollifier_tables", "surface", "landscape"):
        sys.modules.pop(name)


@pytest.fixture(name="study")
def written_study(tmp_path):
    """Of water with harmonic bonds, a model of a few weights."""
    for name, seed in (("train", 0), ("test", 1), ("hot", 2)):
        ase.io.write(tmp_path / f"{name}.xyz", labelled_water(24, seed), format="extxyz")
    small = {"l_max": 1, "n_layers": 1, "n_channels": 4, "n_radial": 4, "radial_hidden": [8], "r_max": 3.0}
    return {
        "directory": str(tmp_path / "study"),
        "config": {
            "model": small,
            "committee": {"n_members": 2},
            "loss": {"mollifier": None},
            "data": {"valid_fraction": 0.25},
        },
        "sets": {
            "water": {
                "train": str(tmp_path / "train.xyz"),
                "frames": 20,
                "oracle": {"kind": "lj"},
                "tests": {"300 K": str(tmp_path / "test.xyz"), "600 K": str(tmp_path / "hot.xyz")},
            }
        },
    }


def test_slice_of_the_study(benchmark, study, capsys, monkeypatch):
    """With a training that fails, and pieces at equal steps."""
    study["variants"] = {"wild": {"optimiser": {"learning_rate": 1e30, "gradient_clip": None}}}
    plan = benchmark.study_of(study | {"equal": ["time", "steps"], "take": ["none", "taylor springs", "wild"]}, "slice")
    results = benchmark.run(plan)["water"]
    assert results["time"]["none"] == results["steps"]["none"]
    (none,) = results["time"]["none"]
    assert [piece["epochs"] for piece in results["steps"]["taylor springs"]] == [none["epochs"]]
    for way in results.values():
        for piece in (*way["none"], *way["taylor springs"]):
            assert piece["cpu_seconds"] > 0.0 and set(piece["curve"]) == {"oscillation", "about_trend", "gap"}
            assert set(piece["tests"]) == {"300 K", "600 K"}
            assert piece["tests"]["300 K"]["forces"] > 0.0 and -1.0 <= piece["tests"]["600 K"]["rank"] <= 1.0
            assert piece["surface"]["rough_bonds"] > 0.0 and piece["surface"]["error_lines"] > 0.0
            assert 0 <= piece["dynamics"]["300 K"]["survived"] <= 2
            assert piece["landscape"]["loss_entropy"] < 0.0
        assert "loss is not finite" in way["wild"][0]["failed"]
    table = capsys.readouterr().out
    assert "water, equal time, seeds [0]" in table and "taylor springs" in table
    assert "wild, seed 0, failed: loss is not finite" in table

    monkeypatch.setattr(benchmark, "measured", lambda *_: pytest.fail("a piece was trained again"))
    (Path(plan["directory"]) / "results.json").unlink()
    again = benchmark.run(plan)
    assert json.loads((Path(plan["directory"]) / "results.json").read_text()) == again


def test_pieces_of_another_process_are_left_to_it(benchmark, study, monkeypatch):
    """And what needs the epochs of `none` waits for them."""
    plan = benchmark.study_of(study | {"equal": ["time", "steps"], "take": ["none", "teacher"]}, "slice")
    asked = []
    monkeypatch.setattr(benchmark, "measured", lambda piece, *_: asked.append(piece) or {"failed": "no time"})
    monkeypatch.setattr(benchmark.tables, "print_tables", lambda *_: None)
    none = benchmark.Piece("water", "none", 0, "time")
    none.folder(plan).mkdir(parents=True)
    with claimed(none.folder(plan) / "lock") as mine:
        assert mine
        benchmark.run(plan)
    assert asked == [benchmark.Piece("water", "teacher", 0, "time")]


def test_what_equal_means(benchmark, study):
    """Nothing but the clock; the epochs of `none`; those over the cost of a step."""
    ways = {"equal": ["time", "steps", "cost"], "take": ["none", "teacher"]}
    plan = benchmark.study_of(study | ways | {"costs": {"teacher": 1.25}}, "slice")
    pieces = [piece for piece in benchmark.pieces(plan) if piece.variant == "teacher"]
    assert [benchmark.epochs_of(piece, plan) for piece in pieces] == [None, 0, 0]  # not yet known
    none = pieces[0]._replace(variant="none").folder(plan)
    none.mkdir(parents=True)
    write_json(none / "piece.json", {"epochs": 100})
    assert [benchmark.epochs_of(piece, plan) for piece in pieces] == [None, 100, 80]
    assert len({piece.folder(plan) for piece in pieces}) == 3
    with pytest.raises(ValueError, match=r"costs: 'teacher' is not there, which 'equal: \[cost\]' asks for"):
        benchmark.study_of(study | ways, "slice")
    with pytest.raises(ValueError, match=r"take: 'none' is not there, which 'equal: \[cost\]' counts the epochs of"):
        benchmark.study_of(study | {"equal": ["time", "cost"], "take": ["teacher"]}, "slice")


def test_variants_are_configs(benchmark, study):
    """Every one of the shipped ones, and each plan takes ones that there are."""
    study["sets"]["water"]["prior"] = {"kind": "lj"}
    for plan in ("slice", "screen", "confirm"):
        shipped = benchmark.study_of(study, plan)
        for name in shipped["variants"]:
            config = benchmark.config_of(benchmark.Piece("water", name, 3, "steps"), shipped, 7)
            assert (config.seed, config.optimiser.epochs, config.model.l_max) == (3, 7, 1)
            assert (config.loss.mollifier is None) == name.startswith(("none", "sam", "average", "early", "decay"))
        timed = benchmark.config_of(benchmark.Piece("water", "none", 3, "time"), shipped, None)
        assert timed.optimiser.minutes == shipped["minutes"]
    with pytest.raises(ValueError, match="take: no variant 'nothing'; there are none, gradient 1e-3"):
        benchmark.study_of(study | {"take": ["nothing"]}, "slice")


def springs(stiffness: float, quartic: float = 0.0):
    """E = Σ k d² / 2 + q d⁴ / 4 of the distances from the atoms' places in the molecule."""
    places = molecule("H2O").positions

    def evaluate(images):
        d = np.array([atoms.positions for atoms in images]) - places
        energies = (0.5 * stiffness * d**2 + 0.25 * quartic * d**4).sum(axis=(1, 2))
        return energies, -stiffness * d - quartic * d**3

    return evaluate


def test_roughness_is_the_third_derivative(benchmark):
    surface = benchmark.measures.surface
    lines = surface.random_lines([molecule("H2O")] * 3, np.random.default_rng(0), 0.2, 21)
    assert surface.roughness(springs(10.0), lines) < 1e-9
    # Along u the force is -q Σ t³ u⁴ in units of the line's own length.
    steps = [(line[1].positions - line[0].positions) for line in lines]
    u4 = [((step / np.linalg.norm(step)) ** 4).sum() * np.linalg.norm(step) for step in steps]
    t = np.arange(-9, 10)
    expected = np.sqrt(np.mean([(6.0 * 2.0 * w * t) ** 2 for w in u4]))
    assert surface.roughness(springs(10.0, 2.0), lines) == pytest.approx(expected, rel=1e-6)
    assert surface.force_error(springs(10.0), springs(11.0), lines) == pytest.approx(0.2 / np.sqrt(3) * 0.605, rel=0.01)


def test_reference_is_computed_once(benchmark):
    surface, calls = benchmark.measures.surface, []

    def evaluate(images):
        calls.append(len(images))
        return springs(10.0)(images)

    once, images = surface.remembered(evaluate), [molecule("H2O"), molecule("H2O")]
    images[1].positions[0] += 0.1
    expected = [springs(10.0)(part)[0].tolist() for part in (images, images[1:], images)]
    assert [once(part)[0].tolist() for part in (images, images[1:], images)] == expected and calls == [2, 1]


def test_bond_scans_move_one_bond(benchmark):
    (line,) = benchmark.measures.surface.bond_scans([molecule("H2O")], np.random.default_rng(0), 0.4, 5)
    pairs = benchmark.measures.surface.bonds(line[2])
    assert pairs.tolist() == [[0, 1], [0, 2]]  # O-H, and not H-H
    lengths = np.array([[atoms.get_distance(i, j) for i, j in pairs] for atoms in line])
    moved = np.ptp(lengths, axis=0).argmax()
    np.testing.assert_allclose(np.diff(lengths[:, moved]), 0.2)


def test_dynamics_keeps_energy_and_tells_a_broken_molecule(benchmark):
    surface, starts = benchmark.measures.surface, [molecule("H2O"), molecule("H2O")]
    calm = surface.dynamics(springs(20.0), starts, 300.0, 200, 0.5, seed=0)
    assert calm.failed_ps == [None, None] and calm.drift < 1e-3

    def nothing(images):
        return np.zeros(len(images)), np.zeros((len(images), 3, 3))

    free = surface.dynamics(nothing, starts, 3e4, 400, 0.5, seed=0)
    assert all(0.0 < when < 0.2 for when in free.failed_ps) and free.drift is None


def test_curve_tells_oscillation_from_trend(benchmark):
    key = "forces_rmse_mev_per_A"

    def rows(log_losses):
        return [{"valid_loss": float(np.exp(v)), f"valid_{key}": 30.0, f"train_{key}": 10.0} for v in log_losses]

    curve = benchmark.measures.curve
    falling = curve(rows(-0.1 * np.arange(30)))
    assert falling["about_trend"] < 1e-9 and falling["oscillation"] == pytest.approx(0.1 * np.arange(10).std())
    wild = curve(rows(np.where(np.arange(30) % 2, 1.0, -1.0)))
    assert wild["oscillation"] == pytest.approx(1.0) and wild["gap"] == pytest.approx(np.log(3.0))


def test_sensitivity_is_over_families(benchmark):
    def piece(error):
        return [{"tests": {"300 K": {"forces": error}}}]

    found = benchmark.tables.sensitivity(
        {"none": piece(1.0), "none F10": piece(np.e**2), "sam": piece(5.0)}, {"take": ["none", "none F10", "sam"]}
    )
    assert found == {"none": pytest.approx(np.sqrt(2.0))}


def test_frames_are_spread_over_the_file(benchmark, study, tmp_path):
    images = labelled_water(21)
    ase.io.write(tmp_path / "train.xyz", [*images, Atoms("H", info={"energy": 0.0})], format="extxyz")
    study["sets"]["water"] |= {"frames": 3, "valid": 2}
    files = benchmark.frames_files("water", study)
    kept, others = (ase.io.read(files[name], ":") for name in ("train", "valid"))
    assert [len(atoms) for atoms in kept] == [1, 3, 3, 3]
    np.testing.assert_allclose(kept[2].positions, images[10].positions, atol=1e-6)
    assert kept[2].get_forces() == pytest.approx(images[10].get_forces(), abs=1e-6)
    np.testing.assert_allclose([a.positions for a in others], [images[k].positions for k in (1, 19)], atol=1e-6)


def test_loss_entropy_of_a_cone(benchmark):
    """L = |w - w0| / |w0| is |t| along every line, whatever its direction."""
    weights = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    before = weights.clone()

    def loss() -> float:
        return float(((weights - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)).mean())

    found = benchmark.measures.landscape.loss_entropy(loss, [weights], 3, 0.2, 5, scale=0.1)
    assert found == pytest.approx(np.log(np.exp([-2.0, -1.0, 0.0, -1.0, -2.0]).mean()), rel=1e-5)
    assert torch.equal(weights, before)
