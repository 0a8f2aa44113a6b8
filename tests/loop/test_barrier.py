"""`mollifield property neb --learn`: an atom goes through a triangle, by a committee that was taught none of it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from mollifield import MollifieldCalculator
from mollifield.properties import Barrier, Report, Samples
from mollifield_train.active.barrier import learn_barrier
from mollifield_train.active.barrier_config import LearnConfig
from mollifield_train.active.store import LABELLED, Store
from mollifield_train.cli import main
from mollifield_train.config import TrainConfig, validated
from mollifield_train.training.run import train

CALCULATION = Barrier(n_images=3, fmax=0.1)
LEARN = {"oracle": {"kind": "emt"}, "tolerance": 0.02, "batch": 4, "warm": {"epochs": 60, "learning_rate": 0.005}}


def umbrella(height: float) -> Atoms:
    """An atom above a triangle that does not move; the barrier to below it is 0.30 eV."""
    angles = 2.0 / 3.0 * np.pi * np.arange(3)
    corners = 4.0 / 3.0**0.5 * np.stack([np.cos(angles), np.sin(angles), 0.0 * angles], axis=1)
    return Atoms("Al4", [*corners, (0.0, 0.0, height)], constraint=FixAtoms([0, 1, 2]))


def ends() -> list[Atoms]:
    return [umbrella(1.0), umbrella(-1.0)]


class Multiple(EMT):
    """EMT times a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def calculate(self, *arguments: Any, **named: Any) -> None:
        super().calculate(*arguments, **named)
        for name in ("energy", "forces"):
            self.results[name] = self.factor * self.results[name]


@cache
def of_oracle(*factors: float, mean: float = 1.0) -> Report:
    """The band of the oracle, times a number, by members that are multiples of it."""
    return CALCULATION.measure(Samples(Multiple(mean), [Multiple(factor) for factor in factors]), ends())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committee of two that knows one side, and the config to learn the way."""
    folder = tmp_path_factory.mktemp("barrier")
    frames, rng = [], np.random.default_rng(0)
    for _ in range(12):
        atoms = umbrella(1.0)
        atoms.set_constraint()
        atoms.positions += rng.normal(scale=0.08, size=(4, 3))
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    ase.io.write(folder / "train.xyz", frames, format="extxyz")
    for name, atoms in zip(("first", "last"), ends(), strict=True):
        ase.io.write(folder / f"{name}.traj", atoms)
    (folder / "learn.yaml").write_text(yaml.safe_dump(LEARN))
    values = {
        "directory": str(folder / "run"),
        "data": {"train": str(folder / "train.xyz")},
        "model": {"preset": "fast", "r_max": 5.0},
        "committee": {"n_members": 2},
        "optimiser": {"epochs": 50, "batch_size": 4},
    }
    train(validated(TrainConfig, values, "test"), progress=False, report=lambda line: None)
    return folder


def learn(folder: Path, *options: str) -> int:
    model, first, last = (str(folder / name) for name in ("run/model.pt", "first.traj", "last.traj"))
    settings = [f"{key}={getattr(CALCULATION, key)}" for key in ("n_images", "fmax")]
    words = ["property", "neb", model, first, last, "-o", str(folder / "found"), "--set", *settings]
    return main([*words, "--learn", str(folder / "learn.yaml"), *options])


@pytest.fixture(scope="module")
def learnt(folder: Path) -> dict[str, Any]:
    assert learn(folder) == 0
    found: dict[str, Any] = json.loads((folder / "found" / "neb.json").read_text())
    return found


def test_labels_bring_the_barrier_to_that_of_the_oracle(learnt: dict[str, Any]) -> None:
    expected = float(of_oracle().estimates["forward"].value)
    first, last = learnt["learnt"][0], learnt["learnt"][-1]
    assert first["interval"] > LEARN["tolerance"] >= last["interval"]
    assert 4 <= last["n_labels"] <= 8
    assert abs(last["forward"] - expected) < LEARN["tolerance"]
    assert last["of_oracle"] == pytest.approx(expected, abs=0.005)  # of second order in the error of the band
    assert learnt["quantities"]["forward"]["value"] == last["forward"]


def test_labels_are_of_free_atoms(learnt: dict[str, Any], folder: Path) -> None:
    """Images have atoms that do not move; forces on these are learnt."""
    for row in Store(folder / "found" / "learn" / "frames.db").frames(status=LABELLED):
        atoms = Atoms(row.atoms.numbers, row.atoms.positions, calculator=EMT())
        np.testing.assert_allclose(row.atoms.get_forces(), atoms.get_forces(), atol=1e-8)


def test_a_second_start_asks_nothing_again(
    learnt: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden(*arguments: object, **named: object) -> None:
        raise AssertionError("is there already")

    monkeypatch.setattr("mollifield_train.active.label.labelling._attempt", forbidden)
    monkeypatch.setattr("mollifield_train.active.barrier.train", forbidden)
    capsys.readouterr()
    assert learn(folder) == 0
    again = json.loads((folder / "found" / "neb.json").read_text())
    assert again["learnt"] == learnt["learnt"]
    assert f"model: {learnt['learnt'][-1]['model']}" in capsys.readouterr().out


def test_a_barrier_that_is_known_costs_its_check(folder: Path, tmp_path: Path) -> None:
    """Two labels, and no training."""
    config = validated(LearnConfig, LEARN, "test")
    found = learn_barrier(
        folder / "run" / "model.pt", ends(), config, tmp_path, lambda *known: of_oracle(0.998, 1.002), lambda line: None
    )
    assert [one.n_labels for one in found] == [0] and found[0].known(config.tolerance)
    assert found[0].of_oracle == pytest.approx(found[0].barrier, abs=1e-6)
    assert len(Store(tmp_path / "frames.db").frames(status=LABELLED)) == 2


def test_a_confident_error_is_found_by_the_oracle(folder: Path, tmp_path: Path) -> None:
    """Members that agree on half the barrier: the oracle's energies do not, so that more is asked for."""
    config = validated(LearnConfig, LEARN | {"budget": 2}, "test")
    said: list[str] = []
    wrong = of_oracle(0.499, 0.501, mean=0.5)
    model = folder / "run" / "model.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mollifield_train.active.barrier._trained", lambda *known: model)
        found = learn_barrier(model, ends(), config, tmp_path, lambda *known: wrong, said.append)
    assert found[0].interval < config.tolerance and not found[0].known(config.tolerance)
    assert [one.n_labels for one in found] == [0, 2]
    assert said[-1].startswith("not known to 0.02 eV: the budget of 2 labels is spent")


def test_an_oracle_that_fails_is_an_error(folder: Path, tmp_path: Path) -> None:
    oracle = {"kind": "ase", "calculator": "ase.calculators.tip3p.TIP3P", "retries": 0}  # of water alone
    config = validated(LearnConfig, LEARN | {"oracle": oracle}, "test")
    with pytest.raises(ValueError, match="the oracle labels none of 4 images: error: "):
        learn_barrier(
            folder / "run" / "model.pt", ends(), config, tmp_path, lambda *known: of_oracle(0.5, 1.5), lambda line: None
        )


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("{budget: 1}", [], "learn.yaml: key 'budget': input should be greater than or equal to 2"),
        ("{orakle: {kind: emt}}", [], "unknown key 'orakle'; did you mean 'oracle'?"),
        ("{oracle: {kind: emt}}", ["--no-error-bar"], "--learn is for neb with error bars"),
    ],
)
def test_mistakes(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, options: list[str], message: str
) -> None:
    (folder / "learn.yaml").write_text(text)
    assert learn(folder, *options) == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_trained_on_is_named(folder: Path, tmp_path: Path, model_file: Path) -> None:
    config = validated(LearnConfig, LEARN, "test")
    with pytest.raises(ValueError, match="says nothing of how it was trained"):
        learn_barrier(model_file, ends(), config, tmp_path, lambda calculator, atoms: of_oracle(), lambda line: None)
    assert MollifieldCalculator(model_file).artefact.n_members > 1
