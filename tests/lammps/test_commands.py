"""LAMMPS commands that lean on more of a pair style than its forces. float64."""

import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from mollifield.artefact import save_artefact
from mollifield_lammps import LammpsError, lammps_command, run_lammps, write_data

from ..conftest import ethanol, sheared_crystal
from ..lammps_runner import run_deck
from .conftest import BAR, EVALUATE, SPECIES, deck, python_answer

DUMP = "dump d all custom 1 last.dump id x y z fx fy fz\ndump_modify d sort id format float %.17g\n"
THERMO = "thermo 1\nthermo_style custom step pe lx ly lz xy xz yz press\nthermo_modify format float %.17g\n"


@pytest.fixture
def crystal(tmp_path: Path) -> Path:
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    return tmp_path


def last_frame(directory: Path, thermo: dict[str, np.ndarray], atoms: Atoms) -> tuple[Atoms, np.ndarray]:
    """The last dumped step as atoms of the elements of `atoms`, and its forces [N, 3]."""
    rows = np.loadtxt((directory / "last.dump").read_text().split("ITEM: ATOMS")[-1].splitlines()[1:], ndmin=2)
    x, y, z, xy, xz, yz = (thermo[name][-1] for name in ("Lx", "Ly", "Lz", "Xy", "Xz", "Yz"))
    frame = Atoms(atoms.symbols, rows[:, 1:4], cell=[[x, 0, 0], [xy, y, 0], [xz, yz, z]], pbc=atoms.pbc)
    return frame, rows[:, 4:7]


def force_errors(model: Path, directory: Path, thermo: dict[str, np.ndarray]) -> np.ndarray:
    """The energy of the last step is that of the Python engine; returns deviations of forces [N, 3]."""
    frame, forces = last_frame(directory, thermo, sheared_crystal())
    expected = python_answer(model, frame)
    assert abs(thermo["PotEng"][-1] - float(expected.energies.mean())) < 1e-9 * len(frame)
    return np.abs(forces - expected.forces.mean(0).numpy())


def test_pressure_is_the_derivative_by_volume(model_file, crystal):
    sides, tilts = ("x", "y", "z"), ("xy", "xz", "yz")
    commands = THERMO + "run 0\n"
    for scale in ("(1+v_h)", "(1-v_h)/(1+v_h)"):
        changes = [f"{side} scale $({scale})" for side in sides] + [f"{t} final $({t}*{scale})" for t in tilts]
        commands += f"change_box all {' '.join(changes)} remap\nrun 0\n"
    thermo = run_deck(deck(model_file, "p p p", commands), crystal, 2, {"h": 1e-4}).thermo
    volume = thermo["Lx"] * thermo["Ly"] * thermo["Lz"]
    slope = (thermo["PotEng"][1] - thermo["PotEng"][2]) / (volume[1] - volume[2])
    assert abs(thermo["Press"][0] + slope * BAR["metal"]) < 1e-6 * abs(thermo["Press"][0])


def test_box_relax_and_minimize(model_file, crystal):
    commands = THERMO + DUMP + "fix b all box/relax tri 1000.0 vmax 0.002\nminimize 0 1e-6 200 400"
    thermo = run_deck(deck(model_file, "p p p", commands), crystal, 2).thermo
    assert abs(thermo["Press"][-1] - 1000.0) < 0.02 * abs(thermo["Press"][0] - 1000.0)
    assert thermo["PotEng"][-1] < thermo["PotEng"][0]
    assert force_errors(model_file, crystal, thermo).max() < 1e-9


def test_npt_conserves(model_file, crystal):
    commands = """
velocity all create 300 4711 loop geom
timestep 0.0002
fix n all npt temp 300 300 0.05 tri 0 0 0.5
thermo_style custom step econserve pe vol
thermo 1
thermo_modify format float %.17g
run 200
"""
    thermo = run_deck(deck(model_file, "p p p", commands), crystal, 2).thermo
    # What the extended system conserves, against what its parts exchange.
    assert np.ptp(thermo["Econserve"]) < 0.02 * np.ptp(thermo["PotEng"])
    assert np.ptp(thermo["Volume"]) > 0.01


def test_deform(model_file, crystal):
    commands = (
        THERMO + DUMP + "fix f all deform 1 x scale 1.05 xy erate 0.5 remap x\ntimestep 0.01\nrun 10\nunfix f\nrun 1"
    )
    thermo = run_deck(deck(model_file, "p p p", commands), crystal, 2).thermo
    assert thermo["Lx"][-1] > 1.04 * thermo["Lx"][0]
    assert force_errors(model_file, crystal, thermo).max() < 1e-9


def test_rerun(model_file, crystal):
    run = "velocity all create 300 1 loop geom\ntimestep 0.0002\nfix n all nve\n" + THERMO + DUMP + "run 5"
    first = run_deck(deck(model_file, "p p p", run), crystal).thermo
    again = run_deck(deck(model_file, "p p p", THERMO + "rerun last.dump dump x y z"), crystal, 2).thermo
    np.testing.assert_allclose(again["PotEng"], first["PotEng"], rtol=0.0, atol=1e-8)


def partitions(text: str, directory: Path, n: int) -> list[str]:
    """Logs of `n` partitions of one rank each."""
    (directory / "in.lammps").write_text(text)
    command = [*lammps_command(n), "-partition", f"{n}x1", "-in", "in.lammps"]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return [(directory / f"log.lammps.{k}").read_text() for k in range(n)]


def test_neb(model_file, tmp_path):
    """A hydrogen moved by 0.2 Å: both ends keep their energies, the band in between relaxes."""
    start, end = ethanol(), ethanol()
    end.positions[4] += [0.12, 0.0, 0.16]
    for atoms in (start, end):
        atoms.set_cell([20.0] * 3)
        atoms.pbc = True
    write_data(tmp_path / "atoms.data", start, SPECIES)
    rows = [f"{k} {x} {y} {z}" for k, (x, y, z) in enumerate(end.positions % 20.0, 1)]
    (tmp_path / "end").write_text(f"{len(rows)}\n" + "\n".join(rows) + "\n")
    commands = "fix n all neb 1.0\ntimestep 0.0005\nmin_style quickmin\nneb 0.0 0.0 3 2 1 final end"
    partitions(deck(model_file, "p p p", commands), tmp_path, 3)
    numbers = re.findall(r"^\s+\d+ .*", (tmp_path / "log.lammps").read_text(), re.MULTILINE)
    energies = np.array([float(word) for word in numbers[0].split()[-5::2]])
    for energy, atoms in zip(energies[[0, 2]], (start, end), strict=True):
        assert abs(energy - float(python_answer(model_file, atoms).energies.mean())) < 1e-3


def test_path_integrals(model_file, crystal):
    """Two beads on a rank each; every bead has the energy of its own positions."""
    commands = """
velocity all create 300 4711 loop geom
timestep 0.0002
fix p all pimd/langevin ensemble nvt temp 300 thermostat PILE_L 1234 tau 0.1 fixcom no
variable bead world 0 1
dump d all custom 4 bead.${bead}.dump id x y z fx fy fz
dump_modify d sort id format float %.17g
thermo 4
thermo_style custom step pe lx ly lz xy xz yz
thermo_modify format float %.17g
run 4
"""
    partitions(deck(model_file, "p p p", commands), crystal, 2)
    for bead in range(2):
        shutil.copy(crystal / f"bead.{bead}.dump", crystal / "last.dump")
        rows = (crystal / f"log.lammps.{bead}").read_text().split("Step ")[1].splitlines()
        thermo = dict(zip(rows[0].split(), np.array([rows[2].split()[1:]], dtype=float).T, strict=True))
        force_errors(model_file, crystal, thermo)  # the fix has added its springs to the dumped forces


def checksum(path: Path) -> str:
    return f"{zlib.crc32(path.read_bytes()):08x}"


def other_model(model: Path, path: Path) -> Path:
    """Another file of the same model."""
    save_artefact(torch.jit.load(model), path, {"name": "another"})
    return path


RESTARTED = "units metal\nread_restart state\n{lines}\n" + THERMO + "run 0\n"


@pytest.fixture
def restart(model_file, crystal) -> Path:
    """A folder with a restart file, written on two ranks, and its model."""
    shutil.copy(model_file, crystal / "model.pt")
    pair = "mollifield driver member 1 halo ghost"
    text = deck("model.pt", "p p p", THERMO + "run 0\nwrite_restart state", pair=pair, elements="NULL C O")
    thermo = run_deck(text, crystal, 2).thermo
    (crystal / "energy").write_text(f"{thermo['PotEng'][0]:.17g}")
    return crystal


def test_restart_sets_the_pair_style_up(restart):
    """With neither pair_style nor pair_coeff, on another number of ranks."""
    result = run_deck(RESTARTED.format(lines=""), restart, 1)
    assert abs(result.thermo["PotEng"][0] - float((restart / "energy").read_text())) < 1e-9
    assert f"driven by member 1, checksum {checksum(restart / 'model.pt')}" in result.log.read_text()


def test_restart_refuses_another_model(restart):
    wrong = other_model(restart / "model.pt", restart / "other.pt")
    both = f"has checksum {checksum(wrong)}, the restart file was written with a model of checksum "
    both += checksum(restart / "model.pt")
    lines = "pair_style mollifield\npair_coeff * * other.pt H C O"
    with pytest.raises(LammpsError, match=f"'other.pt' {both}"):
        run_deck(RESTARTED.format(lines=lines), restart, 2)
    run_deck(RESTARTED.format(lines="pair_style none\n" + lines), restart)
    (restart / "model.pt").rename(restart / "right.pt")
    wrong.rename(restart / "model.pt")
    with pytest.raises(LammpsError, match=f"'model.pt' {both}"):
        run_deck(RESTARTED.format(lines=""), restart, 2)
    run_deck(RESTARTED.format(lines="pair_coeff * * right.pt H C O"), restart)


def test_restart_without_its_model(restart):
    (restart / "model.pt").unlink()
    with pytest.raises(LammpsError, match="no model file 'model.pt' here or in LAMMPS_POTENTIALS"):
        run_deck(RESTARTED.format(lines=""), restart)


def hybrid(text: str) -> str:
    return text.replace("pair_coeff * * ", "pair_coeff * * mollifield ")


def test_restart_of_hybrid(model_file, crystal):
    """Of hybrid styles LAMMPS keeps the settings alone; the model in the new pair_coeff is checked all the same."""
    shutil.copy(model_file, crystal / "model.pt")
    coefficients = "pair_coeff 2 3 lj/cut 0.01 2.0\n"
    text = hybrid(
        deck(
            "model.pt",
            "p p p",
            coefficients + THERMO + "run 0\nwrite_restart state",
            pair="hybrid/overlay mollifield lj/cut 4.0",
        )
    )
    energy = run_deck(text, crystal).thermo["PotEng"][0]
    right = RESTARTED.format(lines="pair_coeff * * mollifield model.pt H C O\n" + coefficients)
    assert abs(run_deck(right, crystal, 2).thermo["PotEng"][0] - energy) < 1e-9
    other_model(crystal / "model.pt", crystal / "other.pt")
    with pytest.raises(LammpsError, match="the restart file was written with a model of checksum"):
        run_deck(right.replace("model.pt", "other.pt"), crystal)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_hybrid_by_type(n_ranks, model_file, tmp_path):
    """C and O are this style's, hydrogen another's: both act as if the other were not there."""
    atoms = ethanol()
    write_data(tmp_path / "atoms.data", atoms, SPECIES)
    lines = "pair_coeff 1 * lj/cut 0.01 2.0\n"
    text = hybrid(deck(model_file, "m m m", lines + EVALUATE, elements="NULL C O", pair="hybrid mollifield lj/cut 4.0"))
    energy = run_deck(text, tmp_path, n_ranks).thermo["PotEng"][0]
    forces = np.loadtxt(tmp_path / "forces.dump", skiprows=9)[:, 1:4]
    text = deck(
        model_file, "m m m", "pair_coeff * * 0.0 1.0\n" + lines.replace("lj/cut ", "") + EVALUATE, pair="lj/cut 4.0"
    )
    text = text.replace(f"pair_coeff * * {model_file} H C O\n", "")
    lj = run_deck(text, tmp_path)
    lj_forces = np.loadtxt(tmp_path / "forces.dump", skiprows=9)[:, 1:4]
    heavy = atoms.numbers != 1
    expected = python_answer(model_file, atoms[heavy])
    assert abs(energy - lj.thermo["PotEng"][0] - float(expected.energies.mean())) < 1e-8
    np.testing.assert_allclose((forces - lj_forces)[heavy], expected.forces.mean(0).numpy(), atol=1e-9)


def test_units_electron(model_file, tmp_path):
    """Hartree and Bohr; pressure in Pa."""
    bohr = 1.0 / 1.88972612  # Å, LAMMPS's own constant
    atoms = sheared_crystal()
    expected = python_answer(model_file, atoms)
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell.array / bohr, scale_atoms=True)
    rotation = write_data(tmp_path / "atoms.data", scaled, SPECIES)
    result = run_deck(deck(model_file, "p p p", EVALUATE, units="electron"), tmp_path, 2)
    hartree = float(expected.energies.mean()) / result.thermo["PotEng"][0]
    assert abs(hartree - 27.211386) < 1e-5  # LAMMPS's Boltzmann constants are of older tables
    rows = np.loadtxt(tmp_path / "forces.dump", skiprows=9)
    forces = rows[:, 1:4] @ rotation.T * hartree / bohr
    np.testing.assert_allclose(forces, expected.forces.mean(0).numpy(), atol=1e-8)
    trace = sum(result.thermo[f"c_p[{k}]"][0] for k in (1, 2, 3)) / 2.94210108e13 * result.thermo["Volume"][0] * hartree
    assert abs(trace - float(expected.virial.mean(0).trace())) < 1e-7 * abs(trace)


def test_potential_search_path(model_file, crystal, monkeypatch):
    monkeypatch.setenv("LAMMPS_POTENTIALS", str(model_file.parent))
    run_lammps(deck(model_file.name, "p p p", "run 0"), crystal)


def test_second_pair_coeff(model_file, crystal):
    second = f"pair_coeff * * {model_file} H C O\n"
    with pytest.raises(LammpsError, match="takes one pair_coeff, which names every atom type; found a second one"):
        run_deck(deck(model_file, "p p p", second + "run 0"), crystal)
    run_deck(deck(model_file, "p p p", "pair_style mollifield\n" + second + "run 0"), crystal)
