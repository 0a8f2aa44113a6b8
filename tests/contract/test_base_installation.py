"""What runs where only the base dependencies are installed: everything but training."""

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import ase.io
from ase.calculators.singlepoint import SinglePointCalculator

from ..conftest import ethanol

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
COMMAND = "from mollifield_train.cli import main\nassert main({words!r}) == 0\n"
END = "end of a part"


def run_without_training(parts: list[str]) -> list[str]:
    """Output of each part of a fresh process without the packages of the extra [train] that the base doesn't bring."""
    names = [text.split(";")[0].split(">")[0].strip() for text in requires("mollifield") or () if '"train"' in text]
    assert "lightning" in names
    # ase itself needs scipy and matplotlib.
    missing = [MODULE_OF.get(name, name) for name in names if name not in ("scipy", "matplotlib")]
    code = WITHOUT.format(missing=missing) + f"print({END!r})\n".join([*parts, ""])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{END}\n")[:-1]


def test_a_model_is_used_described_and_evaluated(model_file: Path, tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = SinglePointCalculator(atoms, energy=-4200.0, forces=atoms.positions)
    ase.io.write(tmp_path / "frames.xyz", atoms, format="extxyz")
    commands = [["info", str(model_file)], ["evaluate", str(model_file), str(tmp_path / "frames.xyz")]]
    parts = [*(COMMAND.format(words=words) for words in commands), CALCULATE.format(model=str(model_file))]
    info, evaluate, calculate = run_without_training(parts)
    assert calculate == "(9,)\n"
    assert "species        H C O" in info
    assert "1 frames, 3 members" in evaluate
