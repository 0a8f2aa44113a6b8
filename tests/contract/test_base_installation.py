"""What runs where only the base dependencies are installed: everything but training."""

import subprocess
import sys
from pathlib import Path

import ase.io
import pytest
import tomllib
from ase.calculators.singlepoint import SinglePointCalculator

from ..conftest import ethanol

ROOT = Path(__file__).resolve().parents[2]
MODULE_OF = {"pyyaml": "yaml"}

WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None  # `import name` raises ImportError
"""
CALCULATE = """
from ase.build import molecule
from mollifield import MollifieldCalculator
atoms = molecule("CH3CH2OH")
atoms.calc = MollifieldCalculator({model!r})
atoms.get_forces()
print(atoms.calc.get_property("forces_std", atoms).shape)
"""
COMMAND = "from mollifield_train.cli import main\nsys.exit(main({words!r}))\n"


def run_without_training(code: str) -> str:
    """Output of `code` in a fresh process without the packages of the extra [train] that the base doesn't bring."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = [requirement.split(">")[0] for requirement in extras["train"]]
    # ase itself needs scipy and matplotlib.
    missing = [MODULE_OF.get(name, name) for name in names if name not in ("scipy", "matplotlib")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing=missing) + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_calculator(model_file: Path) -> None:
    assert run_without_training(CALCULATE.format(model=str(model_file))) == "(9,)\n"


@pytest.mark.parametrize("command", ["info", "evaluate"])
def test_commands(command: str, model_file: Path, tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = SinglePointCalculator(atoms, energy=-4200.0, forces=atoms.positions)
    ase.io.write(tmp_path / "frames.xyz", atoms, format="extxyz")
    words = [command, str(model_file), *([str(tmp_path / "frames.xyz")] if command == "evaluate" else [])]
    expected = {"info": "species        H C O", "evaluate": "1 frames, 3 members"}
    assert expected[command] in run_without_training(COMMAND.format(words=words))
