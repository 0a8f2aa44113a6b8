"""Around fix mollifield/uncertainty: hybrid styles, types without a model, moments without values, step numbers."""

import numpy as np
import pytest

from mollifield_lammps import LammpsError, read_uncertain

from ..conftest import ethanol, sheared_crystal
from ..lammps_runner import run_deck
from .committee import ATOL, spread, start

MOVING = "velocity all create 300 11\nfix n all nve\ntimestep 0.00005\n"
EXACT = "thermo_modify format float %.17g lost error\n"


def hybrid(model, styles, coefficients):
    """A deck's pair_style and pair_coeff lines in place of its first ones."""
    return f"pair_style {styles}\n" + "".join(f"pair_coeff {line}\n" for line in coefficients).format(model=model)


def test_two_models_under_hybrid_are_refused(stated_model, tmp_path):
    """Each knows its own atoms only: the fix would call the other's certain."""
    both = hybrid(
        stated_model,
        "hybrid/overlay mollifield mollifield zero 3",
        ["* * mollifield 1 {model} H NULL NULL", "* * mollifield 2 {model} NULL C O", "* * zero"],
    )
    fix = "fix u all mollifield/uncertainty 1 file u.xyz\nthermo_style custom step f_u\n"
    message = "pair_style hybrid/overlay has more than one sub-style mollifield; allowed: one"
    with pytest.raises(LammpsError, match=message):
        start(tmp_path, ethanol(), stated_model, both + fix + "run 0")
    start(tmp_path, ethanol(), stated_model, both + "run 0")
    one = hybrid(
        stated_model, "hybrid lj/cut 3.0 mollifield", ["* * mollifield {model} NULL C O", "1 * lj/cut 0.001 1.0"]
    )
    result, _ = start(tmp_path, ethanol(), stated_model, one + fix + "run 0")
    assert result.thermo["f_u"][0] > 0.0


def test_elements_for_the_frames(stated_model, tmp_path):
    """Of types that the model does not describe."""
    atoms = ethanol()
    fix = "fix u all mollifield/uncertainty 1 file u.xyz elements {}\nrun 0"
    result, _ = start(tmp_path, atoms, stated_model, fix.format("H C O"), elements="NULL C O")
    (frame,) = read_uncertain(tmp_path / "u.xyz")
    assert frame.get_chemical_symbols() == atoms.get_chemical_symbols()
    assert not frame.arrays["force_std"][atoms.symbols == "H"].any()
    warning = "NULL in pair_coeff leaves atoms of type 1 without any forces; pair_style hybrid gives them another"
    assert warning in result.log.read_text()
    for words, message in (
        ("H C", "keyword 'elements' needs one element for each of 3 atom types, found 2"),
        ("H C 8", "keyword 'elements' needs a chemical symbol for type 3, found '8'"),
        ("H O C", "keyword 'elements' has O for type 2, pair_coeff has C"),
    ):
        with pytest.raises(LammpsError, match=message):
            start(tmp_path, atoms, stated_model, fix.format(words), elements="NULL C O")
    for pair in ("mollifield", "hybrid/overlay mollifield zero 3"):
        path, commands = stated_model, "run 0"
        if "hybrid" in pair:
            commands = hybrid(stated_model, pair, ["* * mollifield {model} NULL C O", "* * zero"]) + commands
        assert "NULL in" not in start(tmp_path, atoms, path, commands)[0].log.read_text()


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_atoms_that_no_computation_has_met(n_ranks, stated_model, tmp_path):
    """Before the first run, and where atoms were created after one, there is no std: not a number, not one of 0."""
    show = "write_dump all custom {}.dump id v_v modify sort id format float %.17g\n"
    commands = (
        "fix u all mollifield/uncertainty 1\nvariable v atom f_u[1]\n"
        + show.format("before")
        + "run 0\n"
        + show.format("after")
        + "lattice sc 0.9\ncreate_atoms 1 box\n"
        + show.format("created")
        + "group new id > 9\ndelete_atoms group new compress no\nrun 0\n"
        + show.format("again")
    )
    atoms = ethanol()
    atoms.cell, atoms.pbc = np.diag([30.0, 30.0, 30.0]), True
    start(tmp_path, atoms, stated_model, commands, n_ranks)
    before, after, created, again = (
        np.loadtxt(tmp_path / f"{name}.dump", skiprows=9) for name in ("before", "after", "created", "again")
    )
    expected = spread(stated_model, atoms)[0]
    assert len(before) == len(atoms) and np.isnan(before[:, 1]).all()
    np.testing.assert_allclose(after[:, 1], expected, atol=ATOL)
    assert len(created) > 30000  # more than LAMMPS has room for at first
    np.testing.assert_array_equal(created[: len(atoms)], after)
    assert np.isnan(created[len(atoms) :, 1]).all()
    np.testing.assert_allclose(again[:, 1], expected, atol=ATOL)


def test_without_forces_there_is_no_spread(stated_model, tmp_path):
    fix = "fix u all mollifield/uncertainty 1\n"
    message = "needs the forces of pair_style mollifield, which 'pair_modify compute no' leaves out"
    with pytest.raises(LammpsError, match=message):
        start(tmp_path, ethanol(), stated_model, "pair_modify compute no\n" + fix + "run 0", n_ranks=2)
    start(tmp_path, ethanol(), stated_model, "pair_modify compute no\nrun 0\npair_modify compute yes\n" + fix + "run 0")
    sub_style = hybrid(stated_model, "hybrid/overlay mollifield zero 3", ["* * mollifield {model} H C O", "* * zero"])
    with pytest.raises(LammpsError, match=message):
        commands = sub_style + "pair_modify pair mollifield compute no\n" + fix + "run 0"
        start(tmp_path, ethanol(), stated_model, commands, n_ranks=2)


def test_ramp_and_gap_go_on_after_reset_timestep(write_model, tmp_path):
    """Steps are counted, whatever their numbers: backwards, forwards, and from a restart file."""
    model = write_model()  # without references: f_u[4] is the members' std alone, which the bias goes by
    tau, ramp = 1.5, 12
    fix = f"fix u all mollifield/uncertainty 1 bias {tau} ramp {ramp} file u.xyz min_gap 4\nfix_modify u energy yes\n"
    show = f"thermo 1\nthermo_style custom step f_u f_u[4] f_u[6]\n{EXACT}"
    runs = ["run 3", "reset_timestep 0", "run 3", "reset_timestep 500", "run 2", "reset_timestep 2"]
    commands = MOVING + fix + show + "\n".join([*runs, "write_restart half.restart", "run 3"])
    result, _ = start(tmp_path, ethanol(), model, commands)

    def progress(thermo):
        n_atoms = len(ethanol())
        return np.round(-ramp * thermo["f_u"] / (tau * n_atoms * thermo["f_u[4]"]), 6).tolist()

    # The first step of a run is the last one of the run before.
    expected = [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 8, 9, 10, 11]
    since = [0, 1, 2, 3, 3, 0, 1, 2, 2, 3, 0, 0, 1, 2, 3]
    assert progress(result.thermo) == expected
    assert result.thermo["f_u[6]"].tolist() == since
    assert [frame.info["step"] for frame in read_uncertain(tmp_path / "u.xyz")] == [0, 1, 502]
    deck = (
        "atom_modify map yes\nread_restart half.restart\nreset_timestep 0\n"
        + MOVING.splitlines()[1]
        + "\ntimestep 0.00005\n"
        + fix
        + show
        + "run 3"
    )
    resumed = run_deck(deck, tmp_path)
    assert progress(resumed.thermo) == expected[-4:]
    assert resumed.thermo["f_u[6]"].tolist() == since[-4:]


WARNING = "neigh_modify exclude removes edges that the model was trained with"


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_excluded_neighbours_are_noticed_in_the_run_that_lacks_them(n_ranks, stated_model, tmp_path):
    """Types 2 and 3 are modelled; an edge of a NULL atom, or of a group without atoms, was none before."""
    cases = {
        "type 2 3": True,
        "none": False,
        "type 1 3": False,
        "group some some": True,
        "group null all": False,
        "group nobody all": False,
    }
    commands = hybrid(stated_model, "hybrid/overlay mollifield zero 3", ["* * mollifield {model} NULL C O", "* * zero"])
    commands += "group some id 1:8\ngroup null type 1\ngroup nobody id 999\n"
    for what in cases:
        commands += f"print 'exclude {what}:'\nneigh_modify exclude none\nneigh_modify exclude {what}\nrun 0\n"
    result, _ = start(tmp_path, sheared_crystal(), stated_model, commands, n_ranks)
    log = result.log.read_text()
    for what, warned in cases.items():
        assert (WARNING in log.split(f"\nexclude {what}:\n")[1].split("\nexclude ")[0]) == warned, what
