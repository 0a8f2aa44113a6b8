"""The contract's two texts say the same, and files of every version that was ever written still run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mollifield import contract, load_artefact
from mollifield_lammps import write_data

from ..conftest import exported_engine, sheared_crystal
from ..lammps_runner import run_deck

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).with_name("files")
TEXT = (ROOT / "plugin/cpp/contract.hpp").read_text(encoding="utf-8")


def said_in_cpp() -> dict[str, object]:
    found: dict[str, object] = {}
    for name, is_list, value in re.findall(r"inline constexpr [\w ]*?[ *](\w+)(\[\])? = (.+?);", TEXT):
        found[name] = json.loads(re.sub(r"^{(.*)}$", r"[\1]", value)) if is_list else json.loads(value)
    return found


def said_in_python() -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in vars(contract).items():
        if name == "REFERENCE_TOLERANCE":
            found |= {f"{name}_{dtype.upper()}": number for dtype, number in value.items()}
        elif name.isupper() and name != "SUMMARY_FILE":  # which engines do not read
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def test_both_languages_say_the_same() -> None:
    in_cpp = said_in_cpp()
    assert len(in_cpp) == TEXT.count("inline constexpr")
    assert in_cpp == said_in_python()


@pytest.mark.parametrize(
    "version, dtype, tolerance",
    [(1, "float32", 2e-5), (1, "float64", 1e-10), (2, "float64", 1e-10), (3, "float64", 1e-10)],
)
def test_a_version_gives_its_numbers(version: int, dtype: str, tolerance: float, tmp_path: Path) -> None:
    """Recorded when the files were made; processors differ in their last digits. Version 3: samples on one trunk."""
    path = FILES / f"version-{version}-{dtype}.pt"
    expected = json.loads((FILES / f"version-{version}.json").read_text())[dtype]
    artefact = load_artefact(path)
    assert artefact.format_version == version and artefact.shared_trunk == (version == 3)
    atoms = sheared_crystal()
    answer = exported_engine(path)(atoms)
    np.testing.assert_allclose(answer.energies, expected["energies"], rtol=0, atol=tolerance * len(atoms))
    np.testing.assert_allclose(answer.forces, expected["forces"], rtol=0, atol=tolerance)

    rotation = write_data(tmp_path / "atoms.data", atoms, ["H", "C", "O"])
    deck = f"""units metal
atom_modify map yes
boundary p p p
box tilt large
read_data atoms.data
pair_style mollifield
pair_coeff * * {path} H C O
fix u all mollifield/uncertainty 1
thermo_style custom step pe f_u
thermo_modify format float %.17g
dump d all custom 1 forces.dump id fx fy fz
dump_modify d sort id format float %.17g
run 0
"""
    thermo = run_deck(deck, tmp_path).thermo
    assert abs(thermo["PotEng"][0] - np.mean(expected["energies"])) < tolerance * len(atoms)
    forces = np.loadtxt(tmp_path / "forces.dump", skiprows=9)[:, 1:] @ rotation.T
    np.testing.assert_allclose(forces, np.mean(expected["forces"], axis=0), rtol=0, atol=tolerance)
    std = 1.5 * np.sqrt(np.var(expected["forces"], axis=0, ddof=1).sum(axis=1)).max()
    assert abs(thermo["f_u"][0] - std) < 10 * tolerance


def test_a_version_of_the_future_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "READABLE_VERSIONS", (1, 2))
    with pytest.raises(
        ValueError, match="format version 3; this release of mollifield reads 1, 2: the file is of a later"
    ):
        load_artefact(FILES / "version-3-float64.pt")
