"""fix mollifield/uncertainty: its numbers against numpy, its file against the Python engine, its stop."""

import ase.io
import numpy as np
import pytest

from mollifield_lammps import LammpsError, read_uncertain, write_data

from ..conftest import ethanol, sheared_crystal, slab
from ..lammps_runner import run_deck
from .committee import ATOL, FACTORS, spread, start
from .conftest import EV_PER_KCAL_MOL, SPECIES

OUTPUT = """
thermo 1
thermo_style custom step pe f_u f_u[*]
thermo_modify format float %.17g lost error
dump d all custom 2 std.dump id f_u[*]
dump_modify d sort id format float %.17g
"""


@pytest.fixture(scope="module")
def committee(write_model):
    return write_model(n_members=6, calibration=FACTORS)


def check_frame(frame, atoms, model):
    """A frame of the file against the Python engine on that very frame."""
    force_std, energy_std, forces, energy = spread(model, frame)
    assert frame.get_chemical_symbols() == atoms.get_chemical_symbols()
    assert frame.arrays["tag"].tolist() == list(range(1, len(atoms) + 1))
    assert frame.pbc.tolist() == atoms.pbc.tolist()
    np.testing.assert_allclose(frame.arrays["forces_mean"], forces, atol=ATOL)
    np.testing.assert_allclose(frame.arrays["force_std"], force_std, atol=ATOL)
    assert abs(frame.info["energy_mean"] - energy) < ATOL * len(atoms)
    assert abs(frame.info["energy_std"] / len(atoms) - energy_std) < ATOL
    assert abs(frame.info["max_force_std"] - force_std.max()) < ATOL
    assert frame.info["trigger"] == 1 + int(force_std.argmax())


@pytest.mark.parametrize("units, n_ranks", [("metal", 1), ("metal", 2), ("metal", 4), ("real", 1)])
def test_numbers(units, n_ranks, committee, tmp_path):
    atoms = sheared_crystal() * (2, 2, 1)
    atoms.rattle(0.1, seed=3)
    commands = "fix u all mollifield/uncertainty 1 file u.xyz\n" + OUTPUT + "run 0"
    result, rotation = start(tmp_path, atoms, committee, commands, n_ranks, units)
    force_std, energy_std, _, _ = spread(committee, atoms)
    unit = 1.0 if units == "metal" else EV_PER_KCAL_MOL
    thermo = {name: column[0] * unit for name, column in result.thermo.items()}
    assert abs(thermo["f_u"] - force_std.max()) < ATOL
    assert abs(thermo["f_u[1]"] - force_std.max()) < ATOL
    assert abs(thermo["f_u[2]"] - force_std.mean()) < ATOL
    assert abs(thermo["f_u[3]"] - np.quantile(force_std, 0.99)) < ATOL
    assert abs(thermo["f_u[4]"] - energy_std) < ATOL
    assert result.thermo["f_u[5]"][0] == 1
    assert result.thermo["f_u[6]"][0] == 0
    assert thermo["f_u[7]"] == 0.0
    assert abs(thermo["f_u[8]"] - np.sqrt(np.mean(force_std**2))) < ATOL
    dumped = np.loadtxt(tmp_path / "std.dump", skiprows=9)[:, 1] * unit
    np.testing.assert_allclose(dumped, force_std, atol=ATOL)
    (frame,) = read_uncertain(tmp_path / "u.xyz", rotation)
    check_frame(frame, atoms, committee)
    np.testing.assert_allclose(frame.arrays["force_std"], force_std, atol=ATOL)
    np.testing.assert_allclose(frame.arrays["forces_mean"], spread(committee, atoms)[2], atol=ATOL)


@pytest.mark.parametrize("make, n_ranks", [(slab, 1), (sheared_crystal, 2)])
def test_frames_of_a_run(make, n_ranks, committee, tmp_path):
    """Every other step, whole frames that ase.io reads and that hold what the model says of them."""
    atoms = make()
    commands = (
        "velocity all create 900 11\nfix n all nve\ntimestep 0.0005\n"
        "fix u all mollifield/uncertainty 2 file u.xyz select 0.001\n" + OUTPUT + "run 5\nundump d\nrun 1"
    )
    result, rotation = start(tmp_path, atoms, committee, commands, n_ranks)
    raw = ase.io.read(tmp_path / "u.xyz", ":")
    assert [frame.info["step"] for frame in raw] == [0, 2, 4, 6]
    frames = read_uncertain(tmp_path / "u.xyz", rotation)
    for frame in frames:
        check_frame(frame, atoms, committee)
    by_step = dict(zip(result.thermo["Step"], result.thermo["f_u"], strict=True))
    for frame in frames:
        assert abs(by_step[frame.info["step"]] - frame.info["max_force_std"]) < ATOL
    # Between its steps the fix shows the last value.
    assert by_step[1] == by_step[0] and by_step[3] == by_step[2]
    # A run starts with values of its own first step.
    assert by_step[5] not in (by_step[4], by_step[6])
    assert result.thermo["f_u[5]"][-1] == 4


def test_select_and_append(committee, tmp_path):
    atoms = ethanol()
    highest = spread(committee, atoms)[0].max()
    for threshold, keyword, n_frames in (
        (1.001 * highest, "", 0),
        (0.999 * highest, "", 1),
        (0.0, " append yes", 2),
        (1e6, " append yes", 2),
    ):
        commands = f"fix u all mollifield/uncertainty 1 file u.xyz select {threshold}{keyword}\nrun 0"
        start(tmp_path, atoms, committee, commands)
        assert len(read_uncertain(tmp_path / "u.xyz")) == n_frames


def test_group(committee, tmp_path):
    """Maximum, mean and trigger are those of the group; the file holds all atoms."""
    atoms = ethanol()
    force_std = spread(committee, atoms)[0]
    chosen = [4, 6, 7]
    commands = "group g id 5 7 8\nfix u g mollifield/uncertainty 1 file u.xyz\n" + OUTPUT + "run 0"
    result, _ = start(tmp_path, atoms, committee, commands)
    assert abs(result.thermo["f_u[1]"][0] - force_std[chosen].max()) < ATOL
    assert abs(result.thermo["f_u[2]"][0] - force_std[chosen].mean()) < ATOL
    (frame,) = read_uncertain(tmp_path / "u.xyz")
    assert frame.info["trigger"] == 1 + chosen[int(force_std[chosen].argmax())]
    np.testing.assert_allclose(frame.arrays["force_std"], force_std, atol=ATOL)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_soft_stop(n_ranks, committee, tmp_path):
    """Above `stop` the run ends by itself, the deck goes on, later runs are skipped."""
    atoms = sheared_crystal()
    highest = spread(committee, atoms)[0].max()
    run = "velocity all create 3000 11\nfix n all nve\ntimestep 0.0005\n"
    fix = f"fix u all mollifield/uncertainty 1 file u.xyz select {1e6} stop {0.9 * highest}\n"
    result, _ = start(tmp_path, atoms, committee, run + fix + OUTPUT + "run 50\nprint 'went on'\nrun 50", n_ranks)
    assert result.stopped
    assert "went on" in result.log.read_text()
    assert f"run stopped at step 0: force std {highest:.6g}" in result.log.read_text()
    assert result.thermo["Step"].max() == 0
    fix = fix.replace(f"stop {0.9 * highest}", f"stop {100 * highest}")
    result, _ = start(tmp_path, atoms, committee, run + fix + OUTPUT + "run 3", n_ranks)
    assert not result.stopped and result.thermo["Step"].max() == 3


def test_null_types_are_written_as_x(committee, tmp_path):
    atoms = ethanol()
    commands = "fix u all mollifield/uncertainty 1 file u.xyz\nrun 0"
    start(tmp_path, atoms, committee, commands, elements="NULL C O")
    (frame,) = read_uncertain(tmp_path / "u.xyz")
    symbols = ["X" if s == "H" else s for s in atoms.get_chemical_symbols()]
    assert frame.get_chemical_symbols() == symbols
    hidden = np.array(symbols) == "X"
    assert not frame.arrays["force_std"][hidden].any() and frame.arrays["force_std"][~hidden].all()


def test_minimize(committee, tmp_path):
    """The fix works under `minimize` too, one frame a step at most."""
    commands = "fix u all mollifield/uncertainty 1 file u.xyz\n" + OUTPUT + "minimize 0 0 3 10"
    result, _ = start(tmp_path, sheared_crystal(), committee, commands)
    steps = [frame.info["step"] for frame in read_uncertain(tmp_path / "u.xyz")]
    assert steps == sorted(set(steps)) and steps[0] == 0
    assert result.thermo["PotEng"][-1] < result.thermo["PotEng"][0]


def test_fix_pair_reads_the_same(committee, tmp_path):
    """LAMMPS's own `fix pair` gets the force std through extract_peratom."""
    commands = (
        "fix u all mollifield/uncertainty 1\nfix p all pair 1 mollifield force_std 1\n"
        "dump d all custom 1 both.dump id f_u[1] f_p\ndump_modify d format float %.17g\nrun 1"
    )
    start(tmp_path, sheared_crystal(), committee, commands)
    rows = np.loadtxt((tmp_path / "both.dump").read_text().splitlines()[9:17])
    assert rows[:, 1].all()
    np.testing.assert_array_equal(rows[:, 1], rows[:, 2])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("", "N, the steps between its outputs, is missing"),
        ("0", "keyword 'N' needs a whole number of at least 1, found '0'"),
        ("x", "keyword 'N' needs a whole number of at least 1, found 'x'"),
        ("1 files u.xyz", "unknown keyword 'files'; allowed: append, bias, calibrated, elements, error, file, max"),
        ("1 file", "keyword 'file' has no value"),
        ("1 file u.xyz select", "keyword 'select' has no value"),
        ("1 file u.xyz select -0.1", "keyword 'select' needs a number that is not negative, found '-0.1'"),
        ("1 file u.xyz stop nan", "keyword 'stop' needs a number that is not negative, found 'nan'"),
        ("1 file u.xyz stop 1 stop 2", "keyword 'stop' is repeated"),
        ("1 select 0.1", "keyword 'select' needs keyword 'file'"),
        (
            "1 quantity force_max",
            "'quantity' needs one of force, force_rel, epistemic, aleatoric, total, interval, energy, latent, outside; "
            "found 'force_max'",
        ),
        ("1 quantity energy reduce max", "keyword 'reduce' has no meaning with quantity energy"),
        ("1 file u.xyz max_frames 1.5", "keyword 'max_frames' needs a whole number of at least 1, found '1.5'"),
        ("1 stop 1 error never", "keyword 'error' needs one of hard, soft, continue; found 'never'"),
        ("1 error hard", "keyword 'error' needs keyword 'stop'"),
        ("1 bias 1 ramp 0", "keyword 'bias ramp' needs a whole number of at least 1, found '0'"),
        ("1 ramp 10", "('ramp n' stands right after 'bias tau')"),
        ("1 file u.xyz\nfix v all mollifield/uncertainty 5 file u.xyz", "file 'u.xyz' is written by fix u already"),
        ("1 file missing/u.xyz", "file 'missing/u.xyz' cannot be written: No such file or directory"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path):
    """No pair style is needed to be told so: the fix parses at once."""
    text = "region b block 0 9 0 9 0 9\ncreate_box 1 b\nmass 1 1\nfix u all mollifield/uncertainty " + arguments + "\n"
    with pytest.raises(LammpsError) as failure:
        run_deck(text, tmp_path)
    assert message in str(failure.value)
    assert "all mollifield/uncertainty" in str(failure.value)


def test_needs_a_committee(write_model, tmp_path):
    with pytest.raises(LammpsError, match="single member"):
        start(tmp_path, ethanol(), write_model(n_members=1), "fix u all mollifield/uncertainty 1\nrun 0")


def test_needs_the_pair_style(tmp_path):
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    text = (
        "units metal\nread_data atoms.data\npair_style lj/cut 4\npair_coeff * * 0.1 2\n"
        "fix u all mollifield/uncertainty 1\nrun 0\n"
    )
    with pytest.raises(LammpsError, match="needs pair_style mollifield"):
        run_deck(text, tmp_path)


def test_units_electron(committee, tmp_path):
    """Thermo output and `select` in Hartree and Bohr, frames in eV and Å all the same."""
    atoms = ethanol()
    force_std, energy_std, _, _ = spread(committee, atoms)
    bohr, hartree = 1.0 / 1.88972612, 27.211386  # LAMMPS's own constants; the energy's is derived, to 1e-6
    unit = hartree / bohr
    commands = (
        "fix u all mollifield/uncertainty 1 file {} select {}\n"
        "thermo_style custom step f_u f_u[2] f_u[4] f_u[5]\n"
        "thermo_modify format float %.17g lost error\nrun 0"
    )
    for name, select, n_frames in (("below", 0.999, 1), ("above", 1.001, 0)):
        select *= force_std.max() / unit
        text = commands.format(f"{name}.extxyz", select)
        result, _ = start(tmp_path / name, atoms, committee, text, units="electron")
        np.testing.assert_allclose(result.thermo["f_u"][0], force_std.max() / unit, rtol=1e-6)
        np.testing.assert_allclose(result.thermo["f_u[2]"][0], force_std.mean() / unit, rtol=1e-6)
        np.testing.assert_allclose(result.thermo["f_u[4]"][0], energy_std / hartree, rtol=1e-6)
        assert result.thermo["f_u[5]"][0] == n_frames
    (frame,) = ase.io.read(tmp_path / "below" / "below.extxyz", ":")
    distances = frame.get_all_distances()
    np.testing.assert_allclose(distances, atoms.get_all_distances(), atol=1e-6)
    np.testing.assert_allclose(frame.arrays["force_std"], force_std, rtol=1e-6)
