"""One file and one line in the table are all that another architecture takes: it trains, is exported and runs."""

from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase.calculators.emt import EMT

from mollifield import load_artefact
from mollifield_train.config import load_train_config
from mollifield_train.model import ARCHITECTURES
from mollifield_train.section import Kind
from mollifield_train.testing import (
    CHECKS,
    R_MAX,
    Engine,
    eager_engine,
    ethanol,
    example_architecture,
    single_precision_agrees,
)
from mollifield_train.training.members import load_members
from mollifield_train.training.run import TrainResult, train
from mollifield_train.training.run_directory import MODEL_FILE

from ..conftest import door
from .pair_architecture import PairConfig, PairPotential


@pytest.fixture(scope="module", autouse=True)
def line_in_the_table() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "pair", Kind(PairConfig, PairPotential))
        yield


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs on six molecules."""
    folder = tmp_path_factory.mktemp("pair")
    frames = []
    for seed in range(6):
        atoms = ethanol()
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    ase.io.write(folder / "frames.xyz", frames, format="extxyz")
    values = {
        "directory": str(folder / "run"),
        "dtype": "float64",
        "data": {"train": str(folder / "frames.xyz")},
        "model": {"kind": "pair", "r_max": R_MAX, "n_radial": 5},
        "committee": {"n_members": 2},
        "optimiser": {"epochs": 2},
    }
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def result(config_file: Path) -> TrainResult:
    return train(load_train_config(config_file), progress=False, report=lambda line: None)


@pytest.fixture(scope="module", params=["eager", "exported", "calculator", "lmp-2"])
def pair_engine(
    request: pytest.FixtureRequest, result: TrainResult, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp(request.param)
    with door(request.param, result.model, result.directory / MODEL_FILE, folder) as engine:
        yield engine


def test_its_keys_are_checked(config_file: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown key 'model\.n_radail'; did you mean 'n_radial'\?"):
        load_train_config(config_file, ["model.n_radail=3"])
    with pytest.raises(ValueError, match=r"key 'model\.kind': input should be 'equivariant' or 'pair', found 'pear'"):
        load_train_config(config_file, ["model.kind=pear"])


def test_training_continues(result: TrainResult, config_file: Path, tmp_path: Path) -> None:
    """From its own checkpoint, and as a warm start, which refuses weights of another architecture."""
    assert result.metrics["epochs"] == [2]
    config = load_train_config(config_file, ["optimiser.epochs=3", f"directory={tmp_path}"])
    warm = train(config, initial=result.directory, progress=False, report=lambda line: None)
    assert isinstance(warm.model, PairPotential)
    moved = (warm.model.coefficients - load_members(result.directory).coefficients).abs().max()
    assert 0.0 < moved < 1.0
    with pytest.raises(ValueError, match=r"model\.kind is equivariant here, pair there"):
        train(
            load_train_config(config_file, ["model={r_max: 4.0}", f"directory={tmp_path / 'other'}"]),
            initial=result.directory,
            progress=False,
        )


def test_its_file_has_no_stages(result: TrainResult) -> None:
    artefact = load_artefact(result.directory / MODEL_FILE)
    assert (artefact.n_layers, artefact.n_members, artefact.species) == (1, 2, ["H", "C", "O"])
    assert not hasattr(artefact.whole, "embed")
    assert artefact.latent_space["references"].shape[1] == 2 * 5
    assert artefact.member(1).n_members == 1


@pytest.mark.parametrize("check", CHECKS)
def test_physics(pair_engine: Engine, check: str) -> None:
    CHECKS[check](pair_engine)


def test_doors_agree(pair_engine: Engine, result: TrainResult) -> None:
    expected, found = eager_engine(result.model)(ethanol()), pair_engine(ethanol())
    np.testing.assert_allclose(found.forces.mean(0), expected.forces.mean(0), atol=1e-10)


def test_float32_agrees_with_float64() -> None:
    settings = PairConfig(r_max=R_MAX)
    single, double = (
        eager_engine(PairPotential(example_architecture(settings, dtype=dtype)))
        for dtype in (torch.float32, torch.float64)
    )
    single_precision_agrees(single, double)
