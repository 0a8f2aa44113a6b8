"""Files of every origin say the same: what is in them, in eV and Å and ASE's signs, and every mistake is named."""

from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa, Hartree

from mollifield_train.config import DataConfig, OriginConfig, TrainConfig, validated
from mollifield_train.data.files import find_files, iterate_atoms
from mollifield_train.data.frames import Frame, Reading, read_frames
from mollifield_train.data.keys import LabelKeys
from mollifield_train.data.origins import Origin

from .frames import moved_water, water, written
from .program_outputs import SMEARING, WRITERS, dump


@pytest.fixture
def crystals() -> list[Atoms]:
    """Three strained cells of salt; energy, forces and a stress with six different elements."""
    rng = np.random.default_rng(3)
    images = []
    for k in range(3):
        atoms = bulk("NaCl", "rocksalt", a=5.6 + 0.1 * k, cubic=True)
        atoms = atoms[np.argsort(atoms.numbers)]
        atoms.positions = (atoms.positions + rng.normal(scale=0.05, size=(8, 3)) + 0.3) % atoms.cell.lengths()
        labels = {"energy": -27.0 - k, "forces": rng.normal(size=(8, 3)), "stress": 0.01 * np.arange(1.0, 7.0)}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        images.append(atoms)
    return images


def same_geometry(frame: Frame, atoms: Atoms) -> None:
    assert frame.symbols == atoms.get_chemical_symbols()
    np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-6)
    np.testing.assert_allclose(frame.cell, atoms.cell.array, atol=1e-6)
    assert frame.pbc.all()


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR", "relax.pwo"])
def test_programs_are_read_in_their_units_and_signs(tmp_path: Path, crystals: list[Atoms], name: str) -> None:
    frames = read_frames(WRITERS[name](crystals, tmp_path / name))
    assert len(frames) == 3
    for frame, atoms in zip(frames, crystals, strict=True):
        same_geometry(frame, atoms)
        assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-6)
        np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-6)


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR"])
def test_the_free_energy_is_there_to_be_asked_for(tmp_path: Path, crystals: list[Atoms], name: str) -> None:
    path = WRITERS[name](crystals, tmp_path / name)
    free = read_frames(path, Reading(LabelKeys(energy="free_energy")))[0].energy
    assert free == pytest.approx(crystals[0].get_potential_energy() - SMEARING, abs=1e-6)


def test_a_dump_has_no_energy_but_what_is_named(tmp_path: Path, crystals: list[Atoms]) -> None:
    """ASE makes one up, of zero."""
    path = dump(crystals, tmp_path / "forces.dump")
    for frame, atoms in zip(read_frames(path), crystals, strict=True):
        same_geometry(frame, atoms)
        assert frame.labels == ["forces"]
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-8)
    named = read_frames(path, Reading(LabelKeys(energy="c_pe")))[1]
    assert named.energy == pytest.approx(crystals[1].get_potential_energy(), abs=1e-7)


def test_atom_types_are_no_atomic_numbers(tmp_path: Path, crystals: list[Atoms]) -> None:
    path = dump(crystals, tmp_path / "md.lammpstrj", elements=False)
    with pytest.raises(ValueError, match=r"md\.lammpstrj: .*frame 0: atoms have no element; give .* `symbols`"):
        read_frames(path)
    for frame, atoms in zip(read_frames(path, Reading(origins=(Origin(symbols=("Cl", "Na")),))), crystals, strict=True):
        same_geometry(frame, atoms)
    with pytest.raises(ValueError, match=r"md\.lammpstrj: .*frame 0: atom type 2, and 1 of `symbols`: Cl"):
        read_frames(path, Reading(origins=(Origin(symbols=("Cl",)),)))


@pytest.mark.parametrize("name", ["frames.traj", "frames.db", "frames.json"])
def test_ases_own_files(tmp_path: Path, crystals: list[Atoms], name: str) -> None:
    path = tmp_path / name
    if name.endswith("traj"):
        ase.io.write(path, crystals)
    else:
        with ase.db.connect(path) as database:
            for k, atoms in enumerate(crystals):
                data = {"REF_forces": atoms.get_forces(), "REF_stress": atoms.get_stress()}
                database.write(atoms, config_type="salt", REF_energy=float(k), data=data)
    frames = read_frames(path)
    for k, (frame, atoms) in enumerate(zip(frames, crystals, strict=True)):
        same_geometry(frame, atoms)
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False))
        if not name.endswith("traj"):
            assert (frame.energy, frame.config_type) == (float(k), "salt")


def test_patterns_name_files_in_order_and_once(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for k, name in enumerate(["b.xyz", "a.xyz", "deep/c.xyz", "other.txt"]):
        written(tmp_path, water(energy=float(k)), name=name)
    read = read_frames([tmp_path / "b.xyz", str(tmp_path / "**/*.xyz")])
    assert [frame.energy for frame in read] == [0.0, 1.0, 2.0]
    assert [Path(frame.file).name for frame in read] == ["b.xyz", "a.xyz", "c.xyz"]
    with pytest.raises(ValueError, match=r"\*\.traj: matches no file"):
        find_files([str(tmp_path / "*.traj")])
    strange = written(tmp_path, water(energy=9.0), name="a[1].xyz")
    assert find_files(strange) == [strange]


def test_a_file_without_a_name_of_its_own_is_extended_xyz(tmp_path: Path) -> None:
    assert len(read_frames(written(tmp_path, *moved_water(2), name="frames.dat"))) == 2


def test_broken_files_of_programs_are_named(tmp_path: Path, crystals: list[Atoms]) -> None:
    path = dump(crystals, tmp_path / "cut.dump")
    path.write_text(path.read_text()[:-100])
    with pytest.raises(ValueError, match=r"cut\.dump: cannot be read as LAMMPS text dump file: frame 2: "):
        list(iterate_atoms(path))
    (tmp_path / "OUTCAR").write_text(" vasp.6.4\n")
    with pytest.raises(ValueError, match=r"OUTCAR: cannot be read as VASP OUTCAR file: frame 0: Incomplete OUTCAR"):
        list(iterate_atoms(tmp_path / "OUTCAR"))
    with pytest.raises(ValueError, match="format 'lamps-dump' is none that ASE knows"):
        list(iterate_atoms(path, Origin(format="lamps-dump")))


def test_units_and_signs_of_an_origin(tmp_path: Path, crystals: list[Atoms]) -> None:
    """The same labels, as three groups would have written them."""
    atoms = crystals[0]
    plain = written(tmp_path, atoms, name="plain.xyz")
    other = atoms.copy()
    other.info["E"] = atoms.get_potential_energy() / Hartree
    other.info["S"] = -atoms.get_stress() / GPa
    other.arrays["gradient"] = 1000.0 * atoms.get_forces()
    virial = atoms.copy()
    virial.info["virial"] = -atoms.get_stress(voigt=False) * atoms.get_volume()
    virial.info["energy"] = atoms.get_potential_energy()
    written(tmp_path, other, name="other.xyz")
    written(tmp_path, virial, name="virial.xyz")
    origins = [
        {"files": "other.xyz", "energy_key": "E", "forces_key": "gradient", "stress_key": "S"}
        | {"energy_unit": "Hartree", "forces_unit": "meV/Å", "stress_unit": "GPa", "stress_sign": "compression"},
        {"files": "vir*.xyz", "virial_key": "virial"},
    ]
    pattern = str(tmp_path / "*.xyz")
    reading = validated(DataConfig, {"train": pattern, "origins": origins}, "test").reading()
    frames = read_frames(pattern, reading)
    assert [Path(frame.file).name for frame in frames] == ["other.xyz", "plain.xyz", "virial.xyz"]
    (reference,) = read_frames(plain)
    for frame in frames:
        assert frame.energy == pytest.approx(reference.energy, rel=1e-9)
        np.testing.assert_allclose(frame.stress, reference.stress, rtol=1e-6)
    np.testing.assert_allclose(frames[0].forces, reference.forces, atol=1e-8)
    tension = Reading(origins=(Origin(virial_key="virial", virial_sign="tension"),))
    np.testing.assert_allclose(read_frames(tmp_path / "virial.xyz", tension)[0].stress, -reference.stress, rtol=1e-6)


def test_an_origin_of_no_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, water())
    with pytest.raises(ValueError, match=r"data\.origins: 'old/\*\.xyz' matches no file; there are .*frames\.xyz"):
        read_frames(path, Reading(origins=(Origin(files="old/*.xyz"),)))


def test_weights_multiply(tmp_path: Path) -> None:
    """A frame's own, its group's and its origin's."""
    images = moved_water(4)
    images[1].info |= {"config_type": "hot"}
    images[2].info |= {"config_type": "hot", "config_weight": 0.5}
    path = written(tmp_path, *images)
    data = {"train": str(path), "config_type_weights": {"hot": 3.0, "md": 5.0}}
    data["origins"] = [{"files": "*.xyz", "weight": 2.0, "config_type": "md"}]
    frames = read_frames(path, validated(DataConfig, data, "test").reading())
    assert [frame.config_type for frame in frames] == ["md", "hot", "hot", "md"]
    assert [frame.weight for frame in frames] == [10.0, 6.0, 3.0, 10.0]
    data["config_type_weights"]["cold"] = 1.0
    with pytest.raises(ValueError, match="no frame has config_type 'cold'; present: hot, md"):
        read_frames(path, validated(DataConfig, data, "test").reading())
    images[3].info["config_weight"] = -1.0
    with pytest.raises(ValueError, match=r"frame 3 of .*: 'config_weight' must be a number of at least 0, found -1"):
        read_frames(written(tmp_path, *images))


def test_mistakes_in_an_origin_are_named() -> None:
    values = {"data": {"train": "a.xyz", "origins": [{"files": "*"}, {"stress_sgn": "tension"}]}}
    with pytest.raises(ValueError, match=r"unknown key 'data\.origins\.1\.stress_sgn'; did you mean 'stress_sign'"):
        validated(TrainConfig, values, "train.yaml")
    values = {"data": {"train": "a.xyz", "origins": [{"stress_unit": "psi"}]}}
    with pytest.raises(ValueError, match=r"key 'data\.origins\.0\.stress_unit': .*'GPa'.*found 'psi'"):
        validated(TrainConfig, values, "train.yaml")


def test_configs_and_readers_know_the_same_of_an_origin() -> None:
    assert vars(OriginConfig().origin()) == vars(Origin())
