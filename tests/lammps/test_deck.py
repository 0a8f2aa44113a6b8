"""Decks: what they say, what they refuse, and that LAMMPS runs them; dumps come back in the first frame."""

import numpy as np
import pytest
from ase.io import read

from mollifield_lammps import (
    Deck,
    Langevin,
    Minimise,
    Npt,
    Nve,
    Nvt,
    Uncertainty,
    lammps_boundary,
    read_dump,
    run_lammps,
    write_data,
)

from ..conftest import ethanol, sheared_crystal, slab
from .conftest import EV_PER_KCAL_MOL, SPECIES, python_answer

NVE = Nve()


def deck(dynamics=NVE, **options):
    settings = {"model": "model.pt", "species": SPECIES, "boundary": "p p p", "n_steps": 10} | options
    return Deck(dynamics=dynamics, **settings)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: deck(units="lj"), "units is 'lj'; allowed: metal, real, electron"),
        (lambda: deck(timestep=-1.0), "timestep is -1.0; allowed: a positive number"),
        (lambda: deck(timestep="1"), "timestep is '1'; allowed: a positive number"),
        (lambda: deck(n_steps=1.5), "n_steps is 1.5; allowed: a whole number, 0 or more"),
        (lambda: deck(thermo_every=0), "thermo_every is 0; allowed: a whole number, 1 or more"),
        (lambda: deck(boundary="p p"), "boundary is 'p p'; allowed: such as 'p p m'"),
        (lambda: deck(boundary="p p q"), "boundary is 'p p q'"),
        (lambda: deck(species=[]), "species is []; allowed: one element or more"),
        (lambda: deck(model="my model.pt"), "model is 'my model.pt'; allowed: a path without spaces"),
        (lambda: deck(initial_temperature=0.0), "initial_temperature is 0.0"),
        (lambda: Nvt(-5.0), "temperature is -5.0; allowed: a positive number"),
        (lambda: Nvt((300.0, 400.0, 500.0)), "temperature is (300.0, 400.0, 500.0); allowed: a number, or two"),
        (lambda: Nvt(300.0, damping=0.0), "damping is 0.0"),
        (lambda: Npt(300.0, pressure=float("nan")), "pressure is nan; allowed: finite numbers"),
        (lambda: Npt(300.0, coupling="isotropic"), "coupling is 'isotropic'; allowed: iso, aniso, tri"),
        (lambda: deck(Npt(300.0), boundary="p p m").text(), "boundary is 'p p m'; allowed: p p p, for Npt"),
        (lambda: Minimise(force_tolerance=0.0), "force_tolerance is 0.0"),
        (lambda: Uncertainty(every=0), "every is 0; allowed: a whole number, 1 or more"),
        (lambda: Uncertainty(stop=-0.1), "stop is -0.1; allowed: a number that is not negative"),
        (
            lambda: Uncertainty(quantity="stress"),
            "quantity is 'stress'; allowed: force, force_rel, epistemic, aleatoric, total, interval, energy, latent, "
            "outside",
        ),
        (lambda: Uncertainty(select=0.3), "select is 0.3, which needs `file`"),
        (lambda: Uncertainty(file="u.xyz", max_frames=0), "max_frames is 0"),
        (lambda: Uncertainty(error="hard"), "error is 'hard', which needs `stop`"),
        (lambda: Uncertainty(quantity="energy", reduce="max"), "reduce is 'max', but the energy is one number"),
        (lambda: Uncertainty(name="my fix"), "name is 'my fix'; allowed: letters, digits and underscores"),
        (lambda: deck(skin=-1.0), "skin is -1.0; allowed: a positive number"),
        (lambda: deck(digits=0), "digits is 0; allowed: a whole number, 1 or more"),
        (lambda: deck(uncertainty=[Uncertainty(), Uncertainty(file="a")]), "allowed: fixes that differ in name"),
        (lambda: Langevin(300.0, damping=-1.0), "damping is -1.0"),
    ],
)
def test_wrong_option(make, message):
    with pytest.raises(ValueError) as failure:
        make()
    assert message in str(failure.value)


def test_text_in_units_of_the_run():
    text = deck(
        Npt((300.0, 600.0), pressure=1.01325, coupling="tri"),
        units="real",
        timestep=0.5,
        species=["H", None],
        uncertainty=Uncertainty(every=5, file="u.xyz", select=0.1, stop=1.0),
        pair_options="driver member 0",
        dump_every=2,
        restart_every=3,
    ).text()
    for line in (
        "pair_style mollifield driver member 0",
        "pair_coeff * * model.pt H NULL",
        "fix dynamics all npt temp 300 600 100 tri 1 1 1000",
        "timestep 0.5",
        "fix uncertainty all mollifield/uncertainty 5 file u.xyz select 2.3060549 stop 23.060549",
        "restart 3 restart.1 restart.2",
    ):
        assert line in text.splitlines()
    relative = Uncertainty(quantity="force_rel", stop=0.5).line(deck(units="real"))
    assert relative.split() == [
        "fix",
        "uncertainty",
        "all",
        "mollifield/uncertainty",
        "10",
        "stop",
        "0.5",
        "quantity",
        "force_rel",
    ]
    assert Uncertainty(bias=2.0, ramp=100).line(deck()).endswith(" bias 2 ramp 100")


def test_a_bath_and_two_fixes():
    """In real units, Å and fs; the bath's random numbers and the velocities follow from one seed."""
    text = deck(
        Langevin((300.0, 600.0), damping=50.0),
        units="real",
        skin=0.5,
        seed=7,
        commands=["compute p all pressure NULL pair"],
        thermo=["step", "c_p"],
        digits=12,
        dump_every=5,
        uncertainty=[Uncertainty(name="watch", every=5), Uncertainty(name="keep", every=9, file="k.xyz", select=0.0)],
    ).text()
    for line in (
        "neighbor 0.5 bin",
        "compute p all pressure NULL pair",
        "fix watch all mollifield/uncertainty 5",
        "fix keep all mollifield/uncertainty 9 file k.xyz select 0",
        "thermo_style custom step c_p",
        "thermo_modify format float %.12g",
        "dump_modify trajectory sort id format float %.12g element H C O",
        "fix dynamics all nve",
        "fix bath all langevin 300 600 50 7 zero yes",
    ):
        assert line in text.splitlines()
    assert (
        "custom step temp pe etotal press f_watch f_keep"
        in deck(uncertainty=[Uncertainty(name="watch"), Uncertainty(name="keep")]).text()
    )


def moving(atoms):
    atoms.set_velocities(np.random.default_rng(1).normal(scale=0.1, size=(len(atoms), 3)))
    return atoms


def skewed():
    """A triclinic cell that LAMMPS has to turn and to choose anew, with atoms outside of it."""
    atoms = sheared_crystal()
    atoms.set_cell(np.array([[1, 1, 0], [0, 1, 1], [2, 0, 1]]) @ atoms.cell.array)
    atoms.rotate(40.0, (1.0, -2.0, 0.5), rotate_cell=True)
    atoms.positions[1] += atoms.cell.array[0]
    return atoms


@pytest.mark.parametrize(
    "make, units_style", [(skewed, "metal"), (skewed, "real"), (slab, "metal"), (ethanol, "metal")]
)
def test_dump_returns_to_the_first_frame(make, units_style, model_file, tmp_path):
    """Cell, positions, velocities and forces are those of the structure before LAMMPS turned it."""
    atoms = moving(make())
    rotation = write_data(tmp_path / "atoms.data", atoms, SPECIES, units_style)
    text = deck(
        model=model_file,
        boundary=lammps_boundary(atoms),
        n_steps=2,
        timestep=1e-3,
        dump_every=1,
        digits=17,
        units=units_style,
    ).text()
    run_lammps("box tilt large\n" + text, tmp_path)
    frames = read_dump(tmp_path / "trajectory.dump", rotation, like=atoms, units=units_style)
    assert [frame.info["step"] for frame in frames] == [0, 1, 2]
    first = frames[0]
    assert first.get_chemical_symbols() == atoms.get_chemical_symbols()
    assert first.pbc.tolist() == atoms.pbc.tolist()
    np.testing.assert_allclose(first.cell.array, atoms.cell.array, atol=1e-12)
    shift = (first.positions - atoms.positions) @ np.linalg.pinv(atoms.cell.array)
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-12)
    np.testing.assert_allclose(first.positions - np.round(shift) @ atoms.cell.array, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(first.get_velocities(), atoms.get_velocities(), atol=1e-12)
    expected = python_answer(model_file, atoms).forces.mean(0).numpy()
    np.testing.assert_allclose(first.get_forces(), expected, atol=1e-9)


def test_dump_that_is_none(tmp_path):
    path = tmp_path / "d.dump"
    path.write_text("hello\n")
    with pytest.raises(ValueError, match="d.dump, line 1: not a snapshot"):
        read_dump(path)
    snapshot = (
        "ITEM: TIMESTEP\n5\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp ff\n0 1\n0 2\n0 3\n"
        "ITEM: ATOMS id x y z c_q\n1 0.5 0.5 0.5 7\n"
    )
    path.write_text(snapshot)
    with pytest.raises(ValueError, match=r"step 5: no columns \['element'\]"):
        read_dump(path)
    with pytest.raises(ValueError, match="units 'lj'; allowed: metal, real, electron"):
        read_dump(path, units="lj")
    whole = snapshot.replace("id x", "id element x").replace("1 0.5", "1 H 0.5")
    path.write_text(whole + whole[:-14])  # the second one was being written
    (frame,) = read_dump(path)
    assert frame.arrays["c_q"].tolist() == [7.0] and frame.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize("units_style", ["metal", "real", "electron"])
def test_velocities_in_every_unit_style(units_style, tmp_path):
    """LAMMPS and ASE give one temperature; without forces the dump gives the velocities back."""
    atoms = moving(sheared_crystal())
    rotation = write_data(tmp_path / "atoms.data", atoms, SPECIES, units_style)
    text = (
        f"units {units_style}\natom_modify map yes\nbox tilt large\nread_data atoms.data\npair_style zero 9.0\n"
        "pair_coeff * *\ncompute t all temp\ncompute_modify t extra/dof 0\nthermo_style custom step c_t\n"
        "thermo_modify format float %.17g\ndump d all custom 1 d.dump id element x y z vx vy vz\n"
        "dump_modify d element H C O format float %.17g\nrun 0\n"
    )
    temperature = run_lammps(text, tmp_path).thermo["c_t"][0]
    # Constants of LAMMPS's unit styles carry six to eight digits.
    assert abs(temperature / atoms.get_temperature() - 1.0) < 2e-5
    (frame,) = read_dump(tmp_path / "d.dump", rotation, like=atoms, units=units_style)
    np.testing.assert_allclose(frame.get_velocities(), atoms.get_velocities(), atol=1e-12)
    np.testing.assert_allclose(frame.cell.array, atoms.cell.array, atol=1e-12)


def test_nvt_with_uncertainty(model_file, tmp_path):
    atoms = ethanol()
    write_data(tmp_path / "atoms.data", atoms, SPECIES, "real")
    text = deck(
        Nvt(300.0),
        model=model_file,
        boundary=lammps_boundary(atoms),
        units="real",
        timestep=0.01,
        initial_temperature=100.0,
        thermo_every=1,
        uncertainty=Uncertainty(every=5, file="u.xyz", select=1e-4),
    ).text()
    result = run_lammps(text, tmp_path)
    assert result.thermo["Step"].tolist() == list(range(11)) and abs(result.thermo["Temp"][0] - 100.0) < 1e-6
    assert [frame.info["step"] for frame in read(tmp_path / "u.xyz", ":")] == [0, 5, 10]
    std = python_answer(model_file, atoms).forces.numpy().var(axis=0, ddof=1).sum(axis=1) ** 0.5
    assert abs(result.thermo["f_uncertainty"][0] * EV_PER_KCAL_MOL - std.max()) < 1e-5 * std.max()


def test_an_orthogonal_cell_may_shear(model_file, tmp_path):
    """Which LAMMPS refuses of a box that it read as orthogonal."""
    atoms = sheared_crystal()
    atoms.set_cell(np.diag(atoms.cell.lengths()), scale_atoms=True)
    write_data(tmp_path / "atoms.data", moving(atoms), SPECIES)
    dynamics = Npt(300.0, pressure=1e5, coupling="tri")
    text = deck(dynamics, model=model_file, timestep=0.01, thermo=["step", "pe", "xy"], thermo_every=1).text()
    thermo = run_lammps(text, tmp_path).thermo
    assert np.isfinite(thermo["PotEng"]).all() and thermo["Xy"][-1] != 0.0


@pytest.mark.parametrize(
    "dynamics", [Npt(300.0, pressure=5.0, coupling="tri"), Langevin(300.0), Minimise(force_tolerance=0.5)]
)
def test_npt_langevin_and_minimisation_run(dynamics, model_file, tmp_path):
    atoms = moving(sheared_crystal())
    write_data(tmp_path / "atoms.data", atoms, SPECIES)
    text = deck(dynamics, model=model_file, timestep=0.01, thermo_every=1).text()
    energies = run_lammps(text, tmp_path).thermo["PotEng"]
    assert len(energies) >= 2 and np.isfinite(energies).all()
    if isinstance(dynamics, Minimise):
        assert energies[-1] < energies[0]
