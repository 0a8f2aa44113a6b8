"""bias of fix mollifield/uncertainty: its force is the gradient of its energy, and LAMMPS counts both."""

import numpy as np
import pytest
import torch

from mollifield_train.export import export
from mollifield_train.model.samples import load_member_state, member_state

from ..conftest import build_potential, ethanol, sheared_crystal
from .committee import FACTORS, start
from .conftest import BAR, python_answer

TAU = 1.5
COUNTED = "fix_modify u energy yes virial yes\n"
DUMP = "write_dump all custom {}.dump id fx fy fz modify sort id format float %.17g\n"
COLUMNS = """
compute e all pe pair
compute p all pressure NULL pair
compute b all pressure NULL pair fix
thermo 1
thermo_style custom step pe ke etotal vol c_e f_u f_u[4] c_p[*] c_b[*]
thermo_modify format float %.17g lost error
"""


def sigma(model, atoms):
    """Calibrated std of the total energy, eV."""
    return FACTORS["energy_std_factor"] * python_answer(model, atoms).energies.numpy().std(ddof=1)


def dumped_forces(path):
    """[N, 3] in the order of tags."""
    return np.loadtxt(path, skiprows=9)[:, 1:4]


def slope(model, atoms, change, h=3e-5):
    """d(-tau sigma_E) by the amount of `change(atoms, amount)`, central difference: good to 1e-6 of it."""
    values = []
    for amount in (h, -h):
        changed = atoms.copy()
        change(changed, amount)
        values.append(-TAU * sigma(model, changed))
    return (values[0] - values[1]) / (2 * h)


def displace(i, a):
    def change(atoms, amount):
        atoms.positions[i, a] += amount

    return change


def strain(a, b):
    def change(atoms, amount):
        tensor = np.eye(3)
        tensor[a, b] += amount
        atoms.set_cell(atoms.cell.array @ tensor.T, scale_atoms=True)

    return change


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_force_and_virial_are_derivatives(n_ranks, stated_model, tmp_path):
    atoms = sheared_crystal()
    commands = (
        f"run 0\n{DUMP.format('without')}"
        f"fix u all mollifield/uncertainty 5 bias {TAU}\n{COUNTED}{COLUMNS}run 0\n{DUMP.format('with')}"
    )
    result, rotation = start(tmp_path, atoms, stated_model, commands, n_ranks)
    without, with_bias = (dumped_forces(tmp_path / f"{name}.dump") for name in ("without", "with"))
    found = (with_bias - without) @ rotation.T
    np.testing.assert_allclose(found.sum(axis=0), 0.0, atol=1e-9)
    expected = [-slope(stated_model, atoms, displace(i, a)) for i in (0, 3) for a in range(3)]
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found[[0, 3]].ravel(), expected, atol=1e-5)

    thermo = {name: column[-1] for name, column in result.thermo.items()}
    assert abs(thermo["f_u"] + TAU * sigma(stated_model, atoms)) < 1e-9
    assert abs(thermo["PotEng"] - thermo["c_e"] - thermo["f_u"]) < 1e-7  # of numbers near 1e4 eV
    pressure = np.array([thermo[f"c_b[{k}]"] - thermo[f"c_p[{k}]"] for k in range(1, 7)])
    virial = (pressure * thermo["Volume"] / BAR["metal"])[[0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(3, 3)
    virial = rotation @ virial @ rotation.T
    for a, b in ((0, 0), (2, 2), (0, 1), (1, 2)):
        assert abs(virial[a, b] + slope(stated_model, atoms, strain(a, b))) < 1e-5


@pytest.fixture(scope="module")
def soft_model(tmp_path_factory):
    """Random weights make steep surfaces; this one is flat enough for a step of 0.25 fs, and has a core."""
    potential = build_potential(torch.float64, 4, zbl=True)
    with torch.no_grad():
        potential.readout.weight_2.mul_(0.01)
    path = tmp_path_factory.mktemp("model") / "soft.pt"
    export(potential, path, [ethanol()], calibration=FACTORS)
    return path


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_nve_conserves_the_biased_energy(n_ranks, soft_model, tmp_path):
    """Outputs every 10 steps, force at every one: the energy with the bias stays, without it does not."""
    commands = (
        "velocity all create 300 11\nfix n all nve\ntimestep 0.00025\n"
        f"fix u all mollifield/uncertainty 10 bias {TAU}\n{COUNTED}{COLUMNS}run 100"
    )
    result, _ = start(tmp_path, ethanol(), soft_model, commands, n_ranks)
    total, bias = result.thermo["TotEng"], result.thermo["f_u"]
    assert np.ptp(bias) > 0.05
    assert np.ptp(total) < 0.01 * np.ptp(bias)
    # Between its steps the fix keeps its statistics, but not its energy.
    assert np.all(result.thermo["f_u[4]"][1:10] == result.thermo["f_u[4]"][0])
    assert len(set(bias[:10])) == 10


def test_ramp(write_model, tmp_path):
    """The file has no latent references, so that f_u[4] is the members' std alone, as in the bias.

    tau grows by a fifth a step; the scalar is the reduced std again once LAMMPS need not count it."""
    atoms = ethanol()
    commands = (
        "velocity all create 300 11\nfix n all nve\ntimestep 0.00005\nreset_timestep 7\n"
        f"fix u all mollifield/uncertainty 1 bias {TAU} ramp 5\nfix_modify u energy yes\n{COLUMNS}run 8\n"
        "fix_modify u energy no\nrun 0"
    )
    result, _ = start(tmp_path, atoms, write_model(calibration=FACTORS), commands)
    ratio = result.thermo["f_u"][:9] / (-TAU * result.thermo["f_u[4]"][:9] * len(atoms))
    np.testing.assert_allclose(ratio, np.minimum(np.arange(9) / 5, 1.0), atol=1e-12)
    assert result.thermo["f_u"][-1] > 0.0
    assert result.thermo["PotEng"][-1] == result.thermo["c_e"][-1]


def test_minimize_goes_down_the_biased_energy(stated_model, tmp_path):
    commands = f"fix u all mollifield/uncertainty 100 bias {TAU}\n{COUNTED}{COLUMNS}minimize 0 0 5 50"
    result, _ = start(tmp_path, ethanol(), stated_model, commands)
    energy = result.thermo["PotEng"]
    assert np.all(np.diff(energy) < 0.0)
    np.testing.assert_allclose(energy, result.thermo["c_e"] + result.thermo["f_u"], atol=1e-7)


def test_members_that_agree_give_no_force(tmp_path):
    """sigma_E = 0 has no gradient."""
    potential = build_potential(torch.float64, 2)
    state = member_state(potential)
    load_member_state(potential, {name: tensor[:1].expand_as(tensor) for name, tensor in state.items()})
    export(potential, tmp_path / "model.pt", [ethanol()])
    commands = (
        f"run 0\n{DUMP.format('without')}"
        f"fix u all mollifield/uncertainty 1 bias {TAU}\n{COUNTED}{COLUMNS}run 0\n{DUMP.format('with')}"
    )
    result, _ = start(tmp_path, ethanol(), tmp_path / "model.pt", commands)
    without, with_bias = (dumped_forces(tmp_path / f"{name}.dump") for name in ("without", "with"))
    # Members asked one by one and all together are summed in other orders.
    np.testing.assert_allclose(with_bias, without, rtol=0, atol=1e-14 * np.abs(without).max())
    assert result.thermo["f_u[4]"][-1] < 1e-12
