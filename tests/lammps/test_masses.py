"""Elements of pair_coeff in another order than atom types: said, because nothing else tells."""

from pathlib import Path

import pytest

from mollifield_lammps import write_data

from ..conftest import sheared_crystal
from ..lammps_runner import run_deck
from .conftest import SPECIES, deck

WARNING = "elements go in the order of atom types"


@pytest.mark.parametrize(
    "elements, masses, said",
    [
        ("H C O", "", []),
        ("H O C", "", ["type 2 has the mass 12.011 of C, but is element O", "type 3 has the mass 15.999 of O"]),
        ("NULL O C", "", ["type 2 has", "type 3 has"]),
        ("H C O", "mass 1 3.024\nmass 2 13.003\n", []),  # repartitioned, and an isotope
        ("H C C", "", []),  # on purpose, or so it seems: no other element fits better
    ],
)
def test_masses_tell_of_swapped_elements(
    elements: str, masses: str, said: list[str], model_file: Path, tmp_path: Path
) -> None:
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    result = run_deck(deck(model_file, "p p p", f"{masses}run 0\n", elements=elements), tmp_path)
    warnings = [line for line in result.log.read_text().splitlines() if WARNING in line]
    assert len(warnings) == len(said)
    for text, warning in zip(said, warnings, strict=True):
        assert f"atom {text}" in warning
