"""The table of quantities is said once in C++; whatever else names them says the same."""

import re
from pathlib import Path

import numpy as np
import pytest

from mollifield_lammps import LammpsError, read_uncertain
from mollifield_lammps.deck import QUANTITY_UNIT

from ..conftest import ethanol
from ..lammps_runner import run_deck
from .committee import start
from .test_build import built, installation

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"FORCE": "eV/Å", "ENERGY": "eV", "ONE": "1"}
ROW = r'{"(\w+)", "[^"]+", Unit::(\w+), Needs::\w+, (\w+), (\w+)},'
SOURCE = (ROOT / "lammps_interface/cpp/quantities.cpp").read_text()
TABLE = re.search(r"QUANTITIES\[\] = {\n(.*?)\n};", SOURCE, re.DOTALL)[1]
ROWS = re.findall(ROW, TABLE)
KEYS = [key for key, *_ in ROWS]


def refusal(arguments, folder):
    """What the fix says to its arguments, before there is a model."""
    text = f"region b block 0 9 0 9 0 9\ncreate_box 1 b\nmass 1 1\nfix u all mollifield/uncertainty 1 {arguments}\n"
    with pytest.raises(LammpsError) as failure:
        run_deck(text, folder)
    return str(failure.value)


def test_every_row_is_read():
    assert len(ROWS) == len(TABLE.splitlines()) >= 4
    for key, _, of_atoms, of_system in ROWS:
        assert [of_atoms, of_system].count("nullptr") == 1, f"{key}: a value for each atom, or one for the system"


def test_the_fix_allows_what_the_table_has(tmp_path):
    assert f"keyword 'quantity' needs one of {', '.join(KEYS)}; found 'none'" in refusal("quantity none", tmp_path)


def test_what_is_global_is_not_reduced(tmp_path):
    per_atom = [key for key, _, of_atoms, _ in ROWS if of_atoms != "nullptr"]
    for key in set(KEYS) - set(per_atom):
        message = refusal(f"quantity {key} reduce max", tmp_path)
        assert (
            f"no meaning with quantity {key}, which is one number for all atoms; allowed with {', '.join(per_atom)}"
            in message
        )


def test_documentation_and_deck_have_the_same_rows():
    page = (ROOT / "docs" / "fix_mollifield_uncertainty.md").read_text()
    documented = re.findall(r"^\| `quantity (\w+)` \|.*?\| (\S+) \| (yes)? ?\|$", page, re.MULTILINE)
    expected = {key: UNITS[unit] for key, unit, *_ in ROWS}
    assert {key: unit for key, unit, _ in documented} == QUANTITY_UNIT == expected
    assert [key for key, _, default in documented if default] == KEYS[:1]


def test_usage_in_the_header_has_the_same_keys():
    header = (ROOT / "lammps_interface/cpp/fix_mollifield_uncertainty.h").read_text()
    assert re.search(r"\[quantity ([\w|]+)\]", header)[1].split("|") == KEYS


COMPONENT = """
#include "quantities.h"
#include <cmath>
inline std::vector<double> component(const LAMMPS_NS::JudgedAtoms &atoms, const LAMMPS_NS::Committee &)
{
  std::vector<double> values = atoms.force_std;
  for (double &value : values) value /= std::sqrt(3.0);
  return values;
}
"""
ROW_MORE = '    {"component", "std of a force component", Unit::FORCE, Needs::NOTHING, component, nullptr},'


def test_a_quantity_more_is_a_file_and_a_row(model_file, tmp_path, monkeypatch):
    """Keyword, message, reductions, selection and frames in eV/Å follow, in a plugin with one file and one row more."""
    (tmp_path / "component.h").write_text(COMPONENT)
    source = tmp_path / "quantities.cpp"
    source.write_text(f'#include "component.h"\n{SOURCE.replace(TABLE, TABLE + chr(10) + ROW_MORE)}')
    _, plugin = built(installation(tmp_path / "lammps"), tmp_path / "build", f"-DMOLLIFIELD_OVERRIDES={source}")
    monkeypatch.setenv("MOLLIFIELD_PLUGIN", str(plugin))
    assert f"{KEYS[-1]}, component; found 'none'" in refusal("quantity none", tmp_path)
    commands = (
        "fix u all mollifield/uncertainty 1\n"
        "fix c all mollifield/uncertainty 1 quantity component reduce q99 file c.xyz\n"
        "thermo_style custom step f_u[*] f_c f_c[*]\nthermo_modify format float %.17g lost error\nrun 0"
    )
    result, _ = start(tmp_path / "run", ethanol(), model_file, commands, units="real")
    found = {name: column[0] for name, column in result.thermo.items()}
    for k in (1, 2, 3):
        np.testing.assert_allclose(found[f"f_c[{k}]"], found[f"f_u[{k}]"] / np.sqrt(3.0), rtol=1e-12)
    assert found["f_c"] == found["f_c[3]"] > 0.0
    (frame,) = read_uncertain(tmp_path / "run" / "c.xyz")
    assert (frame.info["quantity"], frame.info["reduce"]) == ("component", "q99")
    expected = np.quantile(frame.arrays["force_std"], 0.99) / np.sqrt(3.0)
    np.testing.assert_allclose(frame.info["value"], expected, rtol=1e-12)
