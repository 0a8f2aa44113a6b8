"""What README.md has to be pasted works, one after the other: times are shortened, a threshold is lowered."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.io import read, write

from mollifield_lammps import write_data
from mollifield_train.cli import main

from ..lammps_runner import run_deck
from .pages import ROOT, Block, blocks
from .test_commands import command_lines

PAGE = ROOT / "README.md"
N_LINES = 200
NOT_HERE = ("property",)
"""A crystal with elastic constants takes another model than that of a test; tests of properties have one."""


def block_with(word: str, *languages: str) -> Block:
    found = [block for block in blocks(*languages) if block.page == PAGE and word in block.text]
    assert len(found) == 1, f"{len(found)} blocks with {word!r}"
    return found[0]


def cluster(rng: np.random.Generator) -> Atoms:
    """Some silicon and oxygen in a box, labelled."""
    atoms = Atoms("SiO4", [[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], cell=[12] * 3, pbc=True)
    atoms.positions += 6 + rng.normal(scale=0.05, size=(5, 3))
    atoms.info["config_type"] = "hot"
    atoms.calc = LennardJones(epsilon=0.2, sigma=1.55, rc=4.0)
    atoms.get_forces()
    atoms.get_stress()
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the page begins with."""
    folder, rng = tmp_path_factory.mktemp("readme"), np.random.default_rng(0)
    for name, n in (("frames", 20), ("held-out", 24), ("test", 6), ("new", 4)):
        write(folder / f"{name}.extxyz", [cluster(rng) for _ in range(n)])
    write_data(folder / "silica.data", read(folder / "test.extxyz"), ["Si", "O"])
    return folder


def test_it_is_short() -> None:
    assert len(PAGE.read_text().splitlines()) <= N_LINES


def test_the_commands_and_then_the_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    config = block_with("# train.yaml", "yaml").text
    assert "minutes: 15" in config
    Path("train.yaml").write_text(config.replace("minutes: 15", "epochs: 20"))
    done = []
    for line in command_lines(block_with("mollifield train", *("", "sh")).text):
        words = shlex.split(line)[1:]
        if words[0] == "compare":
            shutil.copy("runs/silica/model.pt", "other.pt")
        if words[0] not in NOT_HERE:
            assert main(words) == 0, line
            done.append(words[0])
    assert {"data", "train", "info", "evaluate", "compare", "calibrate", "noise", "posterior", "update"} <= {*done}

    text = block_with("pair_style", "lammps").text
    run = re.search(r"^run +(\d+)$", text, re.MULTILINE)
    assert run is not None
    assert "select 0.3" in text
    result = run_deck(text.replace(run[0], "run 20").replace("select 0.3", "select 0"), folder)
    assert list(result.thermo)[-4:] == ["f_u", "f_u[2]", "f_u[4]", "f_u[5]"]
    assert result.stopped or result.thermo["Step"][-1] == 20
    assert len(read("uncertain.extxyz", ":")) == result.thermo["f_u[5]"][-1]


def test_the_script_runs(tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = block_with("MollifieldCalculator", "python").text
    named = re.search(r'MollifieldCalculator\("(.*?)"\)', text)
    assert named is not None
    (tmp_path / named[1]).parent.mkdir(parents=True)
    shutil.copy(model_file, tmp_path / named[1])
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(text, str(PAGE), "exec"), names)
    atoms = names["atoms"]
    assert isinstance(atoms, Atoms) and atoms.calc is not None
    assert {"forces", "forces_std"} <= set(atoms.calc.results)
