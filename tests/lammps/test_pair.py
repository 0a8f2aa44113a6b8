"""pair_style mollifield against the Python engine and against itself. float64 unless said."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.stress import voigt_6_to_full_3x3_stress

from mollifield_lammps import write_data

from ..conftest import ethanol, sheared_crystal, slab
from ..lammps_runner import run_deck
from .conftest import BAR, EVALUATE, SPECIES, deck, lammps_answer, python_answer

# float64: both engines sum the same terms of up to 1e3 eV in another order.
ATOL = 1e-9


def tiny_crystal() -> Atoms:
    """Two atoms in a cell of which every edge is shorter than r_max."""
    atoms = bulk("CO", "rocksalt", a=4.2)
    atoms.rattle(0.05, seed=4)
    return atoms


def tilted_slab() -> Atoms:
    """Periodic along the second and third, skewed vectors only."""
    atoms = sheared_crystal()
    atoms.pbc = [False, True, True]
    return atoms


def left_handed() -> Atoms:
    atoms = sheared_crystal()
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    return atoms


def turned_molecule() -> Atoms:
    atoms = ethanol()
    atoms.rotate(35.0, (1.0, 2.0, 3.0))
    return atoms


def large_crystal() -> Atoms:
    """Large enough to be cut between ranks with ghosts of ghosts on both sides."""
    atoms = sheared_crystal() * (3, 2, 2)
    atoms.rattle(0.1, seed=5)
    return atoms


FRAMES = {
    f.__name__: f
    for f in (sheared_crystal, tiny_crystal, slab, tilted_slab, left_handed, ethanol, turned_molecule, large_crystal)
}


def assert_agree(answer, expected, atol=ATOL):
    n_atoms = len(answer.forces)
    energies = expected.energies.numpy()
    assert abs(answer.energy - energies.mean()) < atol * n_atoms
    np.testing.assert_allclose(answer.atomic_energies, expected.atomic_energies.mean(0).numpy(), atol=atol)
    np.testing.assert_allclose(answer.forces, expected.forces.mean(0).numpy(), atol=atol)
    # LAMMPS has six components: the virial of a rotation-invariant energy is symmetric.
    np.testing.assert_allclose(answer.virial, expected.virial.mean(0).numpy(), atol=atol * n_atoms)


@pytest.mark.parametrize("name", FRAMES)
def test_agrees_with_python(name, model_file, tmp_path):
    atoms = FRAMES[name]()
    assert_agree(lammps_answer(model_file, atoms, tmp_path), python_answer(model_file, atoms))


@pytest.mark.parametrize(
    "name, n_ranks",
    [("tiny_crystal", 2), ("slab", 4), ("turned_molecule", 2), ("large_crystal", 2), ("large_crystal", 4)],
)
def test_ranks_agree(name, n_ranks, model_file, tmp_path):
    atoms = FRAMES[name]()
    answer = lammps_answer(model_file, atoms, tmp_path, n_ranks)
    assert_agree(answer, python_answer(model_file, atoms))
    check_sums(answer)


def test_three_layers_on_ranks(write_model, tmp_path):
    model = write_model(n_layers=3)
    atoms = large_crystal()
    assert_agree(lammps_answer(model, atoms, tmp_path, 2), python_answer(model, atoms))


def test_one_layer_on_ranks(write_model, tmp_path):
    model = write_model(n_layers=1)
    atoms = large_crystal()
    assert_agree(lammps_answer(model, atoms, tmp_path, 2), python_answer(model, atoms))


@pytest.mark.parametrize("n_ranks", [1, 4])
def test_ranks_without_atoms(n_ranks, model_file, tmp_path):
    """A molecule in a corner of a wide box, so that some ranks own nothing."""
    atoms = ethanol()
    atoms.set_cell([60.0, 60.0, 60.0])
    atoms.pbc = True
    atoms.positions += 5.0 - atoms.positions.min(axis=0)
    answer = lammps_answer(model_file, atoms, tmp_path, n_ranks)
    assert_agree(answer, python_answer(model_file, atoms))


def check_sums(answer):
    n_atoms = len(answer.forces)
    assert abs(answer.atomic_energies.sum() - answer.energy) < ATOL * n_atoms
    np.testing.assert_allclose(answer.atomic_virials.sum(0), answer.virial, atol=ATOL * n_atoms)
    np.testing.assert_allclose(answer.atomic_virials_6.sum(0), answer.virial, atol=ATOL * n_atoms)


def test_atoms_sum_to_the_whole(model_file, tmp_path):
    answer = lammps_answer(model_file, sheared_crystal(), tmp_path)
    check_sums(answer)
    # What they are atom by atom, test_heat_flux.py asks; the one is not the other with three components more.
    assert np.abs(answer.atomic_virials - answer.atomic_virials_6).max() > 1e-3


def test_stress_atom_is_the_calculators_stresses(calc, model_file, tmp_path):
    atoms = sheared_crystal()
    answer = lammps_answer(model_file, atoms, tmp_path)
    stresses = calc.get_property("stresses", atoms)
    expected = -voigt_6_to_full_3x3_stress(stresses) * atoms.get_volume()
    np.testing.assert_allclose(answer.atomic_virials_6, expected, atol=ATOL)


def test_units_real(model_file, tmp_path):
    atoms = sheared_crystal()
    answer = lammps_answer(model_file, atoms, tmp_path, units="real")
    expected = python_answer(model_file, atoms)
    assert abs(answer.energy - expected.energies.mean()) < 1e-9 * len(atoms)
    np.testing.assert_allclose(answer.forces, expected.forces.mean(0).numpy(), atol=ATOL)
    # LAMMPS's constants of real units carry eight digits.
    np.testing.assert_allclose(answer.virial, expected.virial.mean(0).numpy(), atol=1e-6)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_float32(n_ranks, write_model, tmp_path):
    model = write_model(torch.float32)
    atoms = sheared_crystal()
    answer, expected = lammps_answer(model, atoms, tmp_path, n_ranks), python_answer(model, atoms)
    forces = expected.forces.mean(0).numpy()
    # float32 rounds to 6e-8; terms several times larger than their sum cancel.
    assert abs(answer.energy - expected.energies.mean()) < 1e-6 * abs(answer.energy)
    np.testing.assert_allclose(answer.forces, forces, atol=1e-5 * np.abs(forces).max())


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_isolated_atoms(n_ranks, model_file, tmp_path):
    """Atoms, but no edge, on any rank."""
    atoms = Atoms("HCO", positions=[[0, 0, 0], [20, 0, 0], [0, 20, 0]], cell=[40, 40, 40], pbc=True)
    answer = lammps_answer(model_file, atoms, tmp_path, n_ranks)
    expected = python_answer(model_file, atoms)
    np.testing.assert_allclose(answer.atomic_energies, expected.atomic_energies.mean(0).numpy(), atol=ATOL)
    assert not answer.forces.any() and not answer.virial.any()


DIFFERENCES = """
compute p all pressure NULL pair
group moved id 2
variable fx equal fx[2]
variable fz equal fz[2]
thermo_style custom step pe vol c_p[*] v_fx v_fz
thermo_modify format float %.17g
run 0
displace_atoms moved move $(v_h*0.6) 0 $(v_h*0.8)
run 0
displace_atoms moved move $(-2*v_h*0.6) 0 $(-2*v_h*0.8)
run 0
displace_atoms moved move $(v_h*0.6) 0 $(v_h*0.8)
change_box all xy delta $(v_h*ly) xz delta $(v_h*yz) remap units box
run 0
change_box all xy delta $(-2*v_h*ly) xz delta $(-2*v_h*yz) remap units box
run 0
change_box all xy delta $(v_h*ly) xz delta $(v_h*yz) remap units box
change_box all z scale $(1+v_h) remap
run 0
change_box all z scale $((1-v_h)/(1+v_h)) remap
run 0
"""


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_forces_and_virial_are_derivatives(n_ranks, model_file, tmp_path):
    """Central differences of LAMMPS's own energy on a sheared triclinic cell, in LAMMPS's frame."""
    step = 3e-4  # Å or strain; the error is step^2 times a third derivative
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    result = run_deck(deck(model_file, "p p p", DIFFERENCES), tmp_path, n_ranks, {"h": step})
    thermo = result.thermo
    energies = thermo["PotEng"]
    force, shear, stretch = ((energies[k] - energies[k + 1]) / (2 * step) for k in (1, 3, 5))
    to_ev = thermo["Volume"][0] / BAR["metal"]
    forces = 0.6 * thermo["v_fx"][0] + 0.8 * thermo["v_fz"][0]
    virial = {name: thermo[f"c_p[{k}]"][0] * to_ev for k, name in enumerate(("xx", "yy", "zz", "xy"), 1)}
    assert abs(force + forces) < 1e-6 * abs(forces)
    assert abs(shear + virial["xy"]) < 1e-5 * abs(virial["zz"])
    assert abs(stretch + virial["zz"]) < 1e-5 * abs(virial["zz"])


def test_energy_is_conserved(write_model, tmp_path):
    """NVE over neighbour lists that are rebuilt: drift below 1e-4 eV/atom/ps.

    An untrained model is an order of magnitude stiffer than matter: hence the short step, and a cold start from
    its minimum.
    """
    model = write_model(torch.float64, 1, n_layers=2)
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    commands = """
minimize 0 1e-3 200 400
reset_timestep 0
velocity all create 60 8731 loop geom
timestep 0.0002
neighbor 0.5 bin
neigh_modify every 7 delay 0 check no
fix n all nve
thermo 10
thermo_style custom step temp etotal
thermo_modify format float %.17g
run 600
"""
    thermo = run_deck(deck(model, "p p p", commands), tmp_path).thermo
    assert len(thermo["Step"]) == 61
    drift = np.polyfit(thermo["Step"] * 0.0002, thermo["TotEng"] / 8, 1)[0]
    assert abs(drift) < 1e-4
    assert thermo["Temp"].mean() > 10.0


def test_null_types_are_left_out(model_file, tmp_path):
    """Hydrogen mapped to NULL: the rest behaves as if it were not there."""
    atoms = ethanol()
    write_data(tmp_path / "atoms.data", atoms, SPECIES)
    result = run_deck(deck(model_file, "m m m", EVALUATE, elements="NULL C O"), tmp_path)
    heavy = atoms[[a.symbol != "H" for a in atoms]]
    expected = python_answer(model_file, heavy)
    assert abs(result.thermo["PotEng"][0] - expected.energies.mean()) < ATOL * len(atoms)
    forces = np.loadtxt(tmp_path / "forces.dump", skiprows=9)[:, 1:4]
    is_heavy = atoms.numbers != 1
    np.testing.assert_allclose(forces[is_heavy], expected.forces.mean(0).numpy(), atol=ATOL)
    assert not forces[~is_heavy].any()


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_hybrid_overlay_adds_up(n_ranks, model_file, tmp_path):
    atoms = sheared_crystal()
    write_data(tmp_path / "atoms.data", atoms, SPECIES)
    text = deck(
        model_file, "p p p", "pair_coeff 2 3 lj/cut 0.01 2.0\n" + EVALUATE, pair="hybrid/overlay mollifield lj/cut 4.0"
    ).replace("pair_coeff * * ", "pair_coeff * * mollifield ")
    both = run_deck(text, tmp_path, n_ranks).thermo["PotEng"][0]
    alone = text.replace("hybrid/overlay mollifield lj/cut", "lj/cut").replace("2 3 lj/cut", "2 3")
    alone = "\n".join(line for line in alone.splitlines() if "* * mollifield" not in line)
    alone = alone.replace("pair_coeff 2 3", "pair_coeff * * 0 1\npair_coeff 2 3")
    lj = run_deck(alone, tmp_path / ".").thermo["PotEng"][0]
    expected = float(python_answer(model_file, atoms).energies.mean())
    assert abs(both - lj - expected) < ATOL * len(atoms)
