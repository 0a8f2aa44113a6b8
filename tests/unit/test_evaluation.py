"""Tables of errors, calibration and paired differences of made-up predictions with known errors."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from mollifield_train.data.frames import frames_from_atoms
from mollifield_train.evaluation import paired
from mollifield_train.evaluation.calibration import calibration
from mollifield_train.evaluation.plots import draw
from mollifield_train.evaluation.tables import tables
from mollifield_train.metrics import FrameErrors, error_summary, key_of

from .fitting import labelled_water


def predictions(n: int, scale: float = 0.1, seed: int = 0, spread: float | None = None) -> list[FrameErrors]:
    """Of two members and `n` frames of water in a box; errors of `scale` eV/Å, whose std is said to be `spread`.

    Oxygen has twice the error of hydrogen. Energies are 0.3 eV too high, and errors of frames are five times those of
    others where their tag 'kind' is 'hard'.
    """
    rng = np.random.default_rng(seed)
    images = labelled_water(n, box=5.0)
    for k, atoms in enumerate(images):
        atoms.info["kind"] = "hard" if k % 4 == 0 else "easy"
    found = []
    for frame in frames_from_atoms(images, "a.xyz"):
        factor = 5.0 if frame.tags["kind"] == "hard" else 1.0
        by_atom = factor * np.array([2.0 if symbol == "O" else 1.0 for symbol in frame.symbols])[:, None]
        noise = rng.normal(scale=scale, size=(3, 3)) * by_atom
        members = np.stack([noise + 0.01, noise - 0.01])
        energies = frame.energy + 0.3 + factor * rng.normal(scale=scale) + np.array([0.02, -0.02])
        stress = np.stack([frame.stress + 0.001, frame.stress + 0.003])
        variance = np.broadcast_to(((scale if spread is None else spread) * by_atom) ** 2, (3, 3))
        std = factor * (scale if spread is None else spread)
        found.append(FrameErrors(energies, frame.forces + members, stress, frame, std, variance))
    return found


def test_tables_measure_as_summaries_do() -> None:
    frames = predictions(40)
    found, summary = tables(frames, "kind", 3), error_summary(frames)
    for quantity in ("energy", "forces", "stress"):
        row = found["errors"][quantity]
        for measure in ("rmse", "mae", "rmse_members", "std"):
            assert row[measure] == pytest.approx(summary[key_of(quantity, measure)])
    energy = found["errors"]["energy"]
    assert energy["offset"] == pytest.approx(
        np.mean([1000.0 * (f.energies.mean() - f.frame.energy) / 3 for f in frames])
    )
    assert energy["offset"] > 50.0 and energy["rmse_without_offset"] < 0.9 * energy["rmse"]
    assert energy["rmse"] ** 2 == pytest.approx(energy["offset"] ** 2 + energy["rmse_without_offset"] ** 2)
    assert found["errors"]["stress"]["rmse"] == pytest.approx(2.0)
    assert set(found["groups"]) == {"easy", "hard"} and found["groups"]["hard"]["n_frames"] == 10
    easy, hard = (found["groups"][name]["errors"]["forces"]["rmse"] for name in ("easy", "hard"))
    assert hard / easy == pytest.approx(5.0, rel=0.25)
    species = found["forces_by_species"]
    assert species["O"]["rmse"] / species["H"]["rmse"] == pytest.approx(2.0, rel=0.25)
    assert (species["O"]["n_atoms"], species["H"]["n_atoms"]) == (40, 80)
    whole = (40 * species["O"]["rmse"] ** 2 + 80 * species["H"]["rmse"] ** 2) / 120
    assert found["errors"]["forces"]["rmse"] == pytest.approx(np.sqrt(whole))


def test_the_largest_errors_are_named_with_file_and_frame() -> None:
    frames = predictions(20)
    frames[7].forces[:, 2] += 9.0
    frames[11].energies[:] -= 60.0
    frames[13].stress[:] += 1.0
    largest = tables(frames, n_largest=2)["largest"]
    assert all(len(rows) == 2 for rows in largest.values())
    worst = largest["forces"][0]
    assert (worst["file"], worst["frame"], worst["atom"], worst["symbol"]) == ("a.xyz", 7, 2, "H")
    assert worst["error"] == pytest.approx(9000.0 * np.sqrt(3.0), rel=0.1)
    assert (largest["energy"][0]["frame"], largest["stress"][0]["frame"]) == (11, 13)
    assert -20000.0 < largest["energy"][0]["error"] < -18000.0  # the offset of all apart


def test_an_unknown_group_names_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="--by config_type: no frame has such a key; present are file, composition, k"):
        tables(predictions(4), "config_type")
    assert set(tables(predictions(4), "composition")["groups"]) == {"H2O"}
    assert set(tables(predictions(4), "file")["groups"]) == {"a.xyz"}


@pytest.mark.parametrize(("spread", "expected"), [(0.1, 1.0), (0.05, 2.0)])
def test_calibration_sees_whether_stds_are_right(spread: float, expected: float) -> None:
    found = calibration(predictions(400, spread=spread))
    for row in found.values():
        assert row["rms_error_over_std"] == pytest.approx(expected, rel=0.1)
        if expected == 1.0:
            assert row["within_std"] == pytest.approx(row["within_std_if_normal"], abs=0.06)
    forces = found["forces"]
    assert forces["rank_correlation"] > 0.5  # hard frames are known to be hard
    assert sum(row["n"] for row in forces["bins"]) == forces["n"] == 1200
    for row in forces["bins"]:
        assert row["rms_error"] / row["std"] == pytest.approx(expected, rel=0.3)


def test_a_single_member_has_no_calibration() -> None:
    frames = [FrameErrors(f.energies[:1], f.forces[:1], None, f.frame) for f in predictions(20)]
    found = tables(frames)
    assert found["calibration"] == {} and "rmse_members" not in found["errors"]["forces"]
    assert "std" not in found["largest"]["forces"][0]


def test_paired_differences_have_the_error_that_repetitions_have() -> None:
    """Standard error of the difference against its scatter over 200 repetitions; both models share the noise."""
    differences, stated = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        common = rng.normal(scale=1.0, size=60)
        models = [common + rng.normal(scale=0.2, size=60), 1.1 * common + rng.normal(scale=0.2, size=60)]
        sums = np.stack([np.stack([np.ones(60), d**2, np.abs(d), d], axis=1) for d in models])
        row = paired.difference(sums, paired.MEASURES["rmse"])
        differences.append(row["difference"])
        stated.append(row["standard_error"])
    assert np.mean(stated) == pytest.approx(np.std(differences), rel=0.15)
    assert np.mean(differences) == pytest.approx(1000.0 * 0.1, rel=0.1)


def test_blocks_widen_the_error_of_successive_frames() -> None:
    """Each frame ten times: as ten like it in a trajectory, which say no more than one."""
    rng = np.random.default_rng(0)
    models = np.abs(rng.normal(size=(2, 50)))
    once = np.stack([np.ones_like(models), models**2, models, models], axis=-1)
    often = np.repeat(once, 10, axis=1)
    mae = paired.MEASURES["mae"]
    alone = paired.difference(once, mae)
    assert paired.difference(often, mae, block=10) == pytest.approx(alone)  # also in the number of blocks
    assert paired.difference(often, mae)["standard_error"] < 0.4 * alone["standard_error"]


def test_few_blocks_say_less_than_many() -> None:
    row = {"difference": -2.5, "standard_error": 1.0, "n_blocks": 200}
    assert paired.better(row) == "b" and paired.better(row | {"difference": 2.5}) == "a"
    assert paired.better(row | {"n_blocks": 4}) == ""  # t of three degrees of freedom: 3.2
    assert paired.better(row | {"n_blocks": 1, "standard_error": None}) == ""


def test_two_models_by_group() -> None:
    found = paired.compare(predictions(40), predictions(40, scale=0.2, seed=1), by="kind")
    row = found["errors"]["forces"]["rmse"]
    assert row["a"] == pytest.approx(tables(predictions(40))["errors"]["forces"]["rmse"])
    assert row["difference"] == pytest.approx(row["b"] - row["a"]) and paired.better(row) == "a"
    without = found["errors"]["energy"]["rmse_without_offset"]["a"]
    assert without == pytest.approx(tables(predictions(40))["errors"]["energy"]["rmse_without_offset"])
    assert set(found["groups"]) == {"easy", "hard"}
    same = paired.compare(predictions(8), predictions(8))["errors"]["forces"]["rmse"]
    assert same["difference"] == same["standard_error"] == 0.0 and paired.better(same) == ""
    assert paired.compare(predictions(1), predictions(1))["errors"]["energy"]["mae"]["standard_error"] is None


def test_a_picture_of_what_there_is(tmp_path: Path) -> None:
    """All panels, and forces alone of a single member."""
    draw(predictions(40), tmp_path / "all.png", "kind")
    images = labelled_water(3)
    for atoms in images:
        del atoms.calc.results["energy"]
    few = [FrameErrors(np.zeros(1), f.forces[None] + 0.1, None, f) for f in frames_from_atoms(images, "b.xyz")]
    draw(few, tmp_path / "few.png")
    large, small = (matplotlib.image.imread(tmp_path / name) for name in ("all.png", "few.png"))
    assert large.shape[0] > 1.5 * small.shape[0] and large.shape[1] > 2.5 * small.shape[1]
