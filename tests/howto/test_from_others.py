"""Data of other programs come out of the pages' conversions as they went in; LAMMPS takes the lines of the tables."""

import re
import runpy
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mollifield_lammps import write_data
from mollifield_train.config import load_train_config
from mollifield_train.data.frames import Frame, read_frames
from mollifield_train.export import export
from mollifield_train.model.protocol import Potential

from ..conftest import ethanol
from ..lammps_runner import run_deck
from .pages import HOWTO, commands_of, paste, run

PAGES = sorted(path.name for path in HOWTO.glob("from_*.md"))
SPECIES = ["H", "C", "O"]


def labelled(n: int = 4) -> list[Atoms]:
    """Aluminium with labels of EMT, the stress among them."""
    frames = []
    for seed in range(n):
        atoms = bulk("Al", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        frames.append(atoms)
    return frames


def write_deepmd(folder: Path, frames: list[Atoms]) -> None:
    """A system with one set, in DeePMD's units and its sign of the virial."""
    system = folder / "water"
    (system / "set.000").mkdir(parents=True)
    np.savetxt(system / "type.raw", np.zeros(len(frames[0]), dtype=int), fmt="%d")
    (system / "type_map.raw").write_text("Al\n")
    columns = {
        "coord": [atoms.positions.ravel() for atoms in frames],
        "box": [atoms.cell.array.ravel() for atoms in frames],
        "energy": [atoms.get_potential_energy() for atoms in frames],
        "force": [atoms.get_forces().ravel() for atoms in frames],
        "virial": [-atoms.get_volume() * atoms.get_stress(voigt=False).ravel() for atoms in frames],
    }
    for name, rows in columns.items():
        np.save(system / "set.000" / f"{name}.npy", np.array(rows))


def write_named(path: Path, frames: list[Atoms], virial: bool) -> None:
    """Extended xyz with labels under names of its own."""
    own = []
    for atoms in frames:
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        bare.info["dft_energy"] = atoms.get_potential_energy()
        bare.arrays["dft_forces"] = atoms.get_forces()
        bare.info["config_type"] = "surface"
        if virial:
            bare.info["dft_virials"] = -atoms.get_volume() * atoms.get_stress(voigt=False)
        own.append(bare)
    ase.io.write(path, own, format="extxyz")


def same(found: list[Frame], frames: list[Atoms], with_stress: bool) -> None:
    assert len(found) == len(frames)
    for frame, atoms in zip(found, frames, strict=True):
        assert frame.forces is not None
        assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-6)
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-6)
        if with_stress:
            assert frame.stress is not None
            np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-6)
        else:
            assert frame.stress is None


def read_as(page: str, folder: Path) -> list[Frame]:
    """By the page's config."""
    config = load_train_config(folder / "train.yaml")
    return read_frames(config.data.train, config.data.reading())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_deepmd(here: Path) -> None:
    pytest.importorskip("dpdata")
    frames = labelled()
    write_deepmd(here, frames)
    paste("from_deepmd.md", here)
    runpy.run_path("convert.py")
    same(read_as("from_deepmd.md", here), frames, with_stress=True)


def test_mace(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = labelled()
    write_named(here / "train.xyz", frames, virial=True)
    paste("from_mace.md", here)
    same(read_as("from_mace.md", here), frames, with_stress=True)
    assert load_train_config("train.yaml").data.config_type_weights == {"surface": 2.0}
    run(commands_of("from_mace.md")[0])
    assert "surface" in capsys.readouterr().out


def test_nequip(here: Path) -> None:
    """The page's two commands, with a training of a second."""
    frames = labelled(12)
    write_named(here / "training_data.xyz", frames, virial=False)
    paste("from_nequip.md", here)
    same(read_as("from_nequip.md", here), frames, with_stress=False)
    check, train = commands_of("from_nequip.md")
    run(check)
    run([*train, "--set", "optimiser.epochs=1", "--set", "model=fast", "--set", "committee.n_members=1"])
    assert (here / "run" / "model.pt").exists()


def test_pace(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The table as pandas gives it, which is not installed with Mollifield; the file itself is refused."""
    frames = labelled()
    row = namedtuple("row", ["ase_atoms", "energy", "forces", "energy_corrected"])
    rows = [
        row(Atoms(a.numbers, a.positions, cell=a.cell, pbc=True), a.get_potential_energy(), a.get_forces(), 0.0)
        for a in frames
    ]
    table = SimpleNamespace(itertuples=lambda: iter(rows))
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(read_pickle=lambda path, compression: table))
    paste("from_pace.md", here)
    runpy.run_path("convert.py")
    same(read_as("from_pace.md", here), frames, with_stress=False)
    run(commands_of("from_pace.md")[0])
    (here / "my_data.pckl.gzip").write_bytes(b"\x80\x04\x95pickled")
    from mollifield_train.cli import main

    assert main(["data", "check", "my_data.pckl.gzip"]) == 1
    assert "not a text file" in capsys.readouterr().out


@pytest.fixture(scope="module")
def known_model(double_potential: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committee that was never trained, with latent references."""
    path = tmp_path_factory.mktemp("model") / "model.pt"
    export(double_potential, path, [ethanol()], training_frames=[ethanol()])
    return path


def ours(page: str) -> list[str]:
    """Code in the last columns of its table of LAMMPS lines."""
    section = (HOWTO / page).read_text().split("## LAMMPS", 1)[1]
    cells = [line.rstrip("|").rpartition(" | ")[2] for line in section.splitlines() if line.startswith("| ")]
    return [code for cell in cells for code in re.findall(r"`(.*?)`", cell)]


@pytest.mark.parametrize("page", PAGES)
def test_lammps_lines(page: str, known_model: Path, tmp_path: Path) -> None:
    """One deck of them: the styles, the fix with its file, thermo and dump."""
    codes = ours(page)
    styles = [code for code in codes if code.startswith("pair_style mollifield") and "cuda" not in code]
    fixes = [code for code in codes if code.startswith("fix u ")]
    keywords = [code for code in codes if re.match(r"(file|select|stop|quantity) ", code)]
    others = [code for code in codes if re.match(r"(thermo_style|dump) ", code)]
    assert styles and len(fixes) == 1
    assert any(code.startswith("pair_coeff * * model.pt") for code in codes)
    shutil.copy(known_model, tmp_path / "model.pt")
    write_data(tmp_path / "ethanol.data", molecule("CH3CH2OH"), SPECIES)
    keywords = [code for code in keywords if code.split()[0] not in fixes[0].split()]
    unique = {code.split()[0]: code for code in keywords}  # a table may say one thing twice
    deck = [
        *("units metal", "atom_style atomic", "atom_modify map yes", "newton on", "boundary m m m"),
        *("read_data ethanol.data", styles[-1], "pair_coeff * * model.pt H C O", "fix md all nve"),
        " ".join([fixes[0], *unique.values()]),
        *others,
        "run 10",
    ]
    assert len(run_deck("\n".join(deck) + "\n", tmp_path).thermo["Step"])  # `stop` of some tables ends the run
