"""Every example input of the pages on LAMMPS runs as it stands, one after the other in one folder."""

import re
import shutil
from pathlib import Path

import pytest
from ase.build import molecule

from mollifield_lammps import write_data

from ..lammps_runner import run_deck
from .conftest import SPECIES

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [DOCS / f"{name}.md" for name in ("lammps", "pair_style_mollifield", "fix_mollifield_uncertainty")]
EXAMPLES = dict(re.findall(r"`lammps (\S+)\n(.*?)`", "".join(page.read_text() for page in PAGES), re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model_file):
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(model_file, folder / "model.pt")
    write_data(folder / "ethanol.data", molecule("CH3CH2OH"), SPECIES)
    for name, text in EXAMPLES.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("in.")])
def test_example(name, folder):
    steps = run_deck((folder / name).read_text(), folder).thermo["Step"]
    assert steps[-1] - steps[0] in (10, 20)
