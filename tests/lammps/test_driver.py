"""Dynamics driven by one member of the committee: the member's own numbers, the committee only where asked."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mollifield_lammps import LammpsError, read_uncertain, write_data
from mollifield_train.export import export
from mollifield_train.model.samples import one_member

from ..conftest import build_potential, ethanol, sheared_crystal
from ..lammps_runner import run_deck
from .conftest import SPECIES, deck, lammps_answer, python_answer

# float64, relative to the largest number: one member and a batch of them sum in another order at most.
RTOL = 1e-12
MEMBER = 2
RUN = """
velocity all create 300 4711 loop geom
timestep 0.0002
fix n all nve
compute e all pe/atom pair
thermo 1
thermo_style custom step pe press{fix_output}
thermo_modify format float %.17g
dump d all custom {steps} forces.dump id fx fy fz c_e
dump_modify d sort id format float %.17g
run {steps}
"""


def write_files(folder: Path, splines: bool) -> tuple[Path, Path]:
    """A committee of three, and its member `MEMBER` exported alone."""
    committee = build_potential(torch.float64, 3, zbl=True)
    single = one_member(committee, MEMBER)
    if splines:  # the number of knots depends on the members: the same for both here
        committee, single = committee.tabulated(256), single.tabulated(256)
    paths = folder / "committee.pt", folder / "single.pt"
    for path, potential in zip(paths, (committee, single), strict=True):
        export(potential, path, [ethanol(), sheared_crystal()], splines=False)
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_files(tmp_path_factory.mktemp("driver"), splines=True)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=RTOL * np.abs(expected).max())


def move(
    model: Path, directory: Path, steps: int, n_ranks: int, pair: str = "mollifield", fix: str = ""
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Thermo output of a short run, and its last forces and energies of atoms."""
    directory.mkdir()
    write_data(directory / "atoms.data", sheared_crystal() * (2, 1, 1), SPECIES)
    commands = fix + RUN.format(steps=steps, fix_output=" f_u f_u[4]" if fix else "")
    thermo = run_deck(deck(model, "p p p", commands, pair=pair), directory, n_ranks).thermo
    last = (directory / "forces.dump").read_text().splitlines()[-16:]
    return thermo, np.loadtxt(last)[:, 1:]


@pytest.mark.parametrize("splines, n_ranks", [(True, 1), (True, 2), (False, 1)])
def test_is_the_member_alone(splines, n_ranks, files, tmp_path):
    """A trajectory that never asks for the committee, and one that asks every other step."""
    committee, single = files if splines else write_files(tmp_path, splines)
    expected, expected_atoms = move(single, tmp_path / "single", 4, n_ranks)
    pair = f"mollifield driver member {MEMBER}"
    for name, fix in (("alone", ""), ("asked", "fix u all mollifield/uncertainty 2 file u.xyz\n")):
        found, atoms = move(committee, tmp_path / name, 4, n_ranks, pair, fix)
        for key in ("PotEng", "Press"):
            assert_same(found[key], expected[key])
        assert_same(atoms, expected_atoms)
    # The fix still speaks of the whole committee.
    assert found["f_u"].min() > 0.0 and found["f_u[4]"].min() > 0.0
    frame = read_uncertain(tmp_path / "asked" / "u.xyz")[0]
    mean = python_answer(committee, frame)
    assert abs(frame.info["energy_mean"] - float(mean.energies.mean())) < 1e-9 * len(frame)
    np.testing.assert_allclose(frame.arrays["forces_mean"], mean.forces.mean(0).numpy(), atol=1e-9)


def test_members_differ_and_mean_is_the_default(files, tmp_path):
    committee = files[0]
    expected = python_answer(committee, ethanol())
    for k in (0, 1):
        answer = lammps_answer(committee, ethanol(), tmp_path / str(k), pair=f"mollifield driver member {k}")
        np.testing.assert_allclose(answer.forces, expected.forces[k].numpy(), atol=1e-9)
    answer = lammps_answer(committee, ethanol(), tmp_path / "mean", pair="mollifield driver mean threads 1")
    np.testing.assert_allclose(answer.forces, expected.forces.mean(0).numpy(), atol=1e-9)


@pytest.mark.parametrize(
    "driver, message",
    [
        ("driver", "keyword 'driver' has no value"),
        ("driver max", "unknown driver 'max'; allowed: mean, member k"),
        ("driver member", "'driver member' needs the number of a member, from 0"),
        ("driver member two", "keyword 'driver member' needs a whole number, found 'two'"),
        ("driver member -1", "members are numbered from 0, found driver member -1"),
        ("driver member 3", "model.pt' has no member 3; allowed: 0 to 2"),
        ("driver member 0 1", "unknown keyword '1'; allowed: device, threads, driver"),
    ],
)
def test_wrong_driver(driver, message, model_file, tmp_path):
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    for n_ranks in (1, 2) if driver == "driver member 3" else (1,):
        with pytest.raises(LammpsError) as failure:
            run_deck(deck(model_file, "p p p", "run 0", pair=f"mollifield {driver}"), tmp_path, n_ranks)
        assert message in str(failure.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_member_tensors_are_all_that_differs(files):
    """Every tensor of the file with a member dimension is named, and no other."""
    module = torch.jit.load(files[0])
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    constants = {name for name in tensors if name.startswith("potential.repulsion")}  # for 3 species
    assert set(module.member_tensors) == {
        name for name, tensor in tensors.items() if tensor.shape[:1] == (3,) and name not in constants
    }
