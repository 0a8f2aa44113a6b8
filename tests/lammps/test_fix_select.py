"""fix mollifield/uncertainty: what it measures, which frames it keeps, how it stops, a full disk."""

import shutil
import subprocess

import ase.io
import numpy as np
import pytest
import torch

from mollifield import MollifieldCalculator, contract
from mollifield.potential import evaluate, types_of
from mollifield.uncertainty import latent_distance, latent_features, relative_distance
from mollifield_lammps import LammpsError, lammps_command, read_uncertain

from ..conftest import ethanol, sheared_crystal
from .committee import ATOL, NOISE, spread, start
from .conftest import EV_PER_KCAL_MOL, artefact_of, python_answer

REDUCED = {"max": np.max, "mean": np.mean, "q99": lambda values: np.quantile(values, 0.99)}


def latent(path, atoms):
    """(features [N, F], distances [N]) from the Python engine."""
    artefact = artefact_of(path)
    symbols = atoms.get_chemical_symbols()
    out = evaluate(artefact, symbols, atoms.positions, atoms.cell.array, atoms.pbc, True)
    types = types_of(symbols, artefact.species)
    distances = latent_distance(artefact.latent_space, out.latent, torch.from_numpy(types))
    return latent_features(artefact.latent_space, out.latent).numpy(), distances.numpy()


def new_crystal():
    """Not in the file's training frames."""
    atoms = sheared_crystal() * (2, 2, 1)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.mark.parametrize("n_ranks", [1, 3])
def test_quantities(n_ranks, stated_model, tmp_path):
    """Every quantity under every reduction, for the atoms of a group, against numpy."""
    atoms = new_crystal()
    chosen = np.arange(len(atoms)) % 3 != 1
    members = " ".join(str(k + 1) for k in np.flatnonzero(chosen))
    fixes = {
        f"{quantity}_{reduction}": f"quantity {quantity} reduce {reduction}"
        for quantity in ("force", "force_rel", "latent", "outside")
        for reduction in REDUCED
    }
    fixes |= {"energy": "quantity energy", "raw": "calibrated no"}
    fixes["raw_energy"] = "quantity energy calibrated no"
    commands = f"group g id {members}\n"
    commands += "".join(f"fix {name} g mollifield/uncertainty 1 {words}\n" for name, words in fixes.items())
    commands += f"thermo_style custom step {' '.join(f'f_{name}' for name in fixes)} f_force_max[*]\n"
    commands += "dump d all custom 1 atoms.dump id f_force_max[*]\n"
    commands += "dump_modify d sort id format float %.17g\n"
    commands += "thermo_modify format float %.17g\nrun 0"
    result, _ = start(tmp_path, atoms, stated_model, commands, n_ranks)
    found = {name: column[0] for name, column in result.thermo.items()}

    force_std, energy_std, forces, _ = spread(stated_model, atoms)
    distances = latent(stated_model, atoms)[1]
    answer = python_answer(stated_model, atoms)
    relative = relative_distance(artefact_of(stated_model).latent_space, answer.latent, answer.types).numpy()
    assert 0 < (relative[chosen] > 1.0).sum() == found["f_force_max[9]"]
    atomic = {
        "force": force_std,
        "latent": distances,
        "outside": relative,
        "force_rel": force_std / (np.linalg.norm(forces, axis=1) + contract.FORCE_REL_FLOOR),
    }
    for quantity, values in atomic.items():
        for reduction, reduce in REDUCED.items():
            assert abs(found[f"f_{quantity}_{reduction}"] - reduce(values[chosen])) < ATOL, (quantity, reduction)
    assert abs(found["f_energy"] - energy_std) < ATOL
    raw_force, raw_energy, _, _ = spread(stated_model, atoms, factors={})
    assert abs(found["f_raw"] - raw_force[chosen].max()) < ATOL
    assert abs(found["f_raw_energy"] - raw_energy) < ATOL
    assert abs(found["f_force_max[7]"] - NOISE["force_noise_std"]) < ATOL
    assert abs(found["f_force_max[8]"] - np.sqrt(np.mean(force_std[chosen] ** 2))) < ATOL
    columns = np.loadtxt(tmp_path / "atoms.dump", skiprows=9)[:, 1:]
    expected = np.stack([force_std, np.full(len(atoms), NOISE["force_noise_std"]), distances, relative], axis=1)
    np.testing.assert_allclose(columns, np.where(chosen[:, None], expected, 0.0), atol=ATOL)


def test_training_atoms_are_no_news(stated_model, tmp_path):
    commands = (
        "fix u all mollifield/uncertainty 1 quantity latent\nthermo_style custom step f_u\n"
        "thermo_modify format float %.17g\nrun 0"
    )
    result, _ = start(tmp_path, ethanol(), stated_model, commands)
    assert result.thermo["f_u"][0] < 1e-6  # references are kept in float32
    moved = ethanol()
    moved.rattle(0.2, seed=4)
    result, _ = start(tmp_path, moved, stated_model, commands)
    assert result.thermo["f_u"][0] > 0.1


def test_file_without_latent_space(model_without_latent_space, tmp_path):
    model = model_without_latent_space
    with pytest.raises(LammpsError, match="'quantity latent' needs a model file with latent references"):
        start(tmp_path, ethanol(), model, "fix u all mollifield/uncertainty 1 quantity latent\nrun 0")
    result, _ = start(
        tmp_path,
        ethanol(),
        model,
        "fix u all mollifield/uncertainty 1 file u.xyz novelty 0.1\ncompute m all reduce max f_u[2] f_u[3]\n"
        "thermo_style custom step f_u c_m[*]\nrun 0",
    )
    assert result.thermo["c_m[1]"][0] == result.thermo["c_m[2]"][0] == 0.0
    assert steps_of(tmp_path / "u.xyz") == [0]
    log = result.log.read_text()
    assert "the model file has no calibration, std is as it comes" in log
    assert "the model file states no force_noise_std, aleatoric std is 0" in log


MOVING = "velocity all create 900 11\nfix n all nve\ntimestep 0.0005\n"


def steps_of(path):
    return [frame.info["step"] for frame in read_uncertain(path)]


def test_gap_and_number_of_frames(stated_model, tmp_path):
    commands = MOVING + (
        "fix g all mollifield/uncertainty 1 file gap.xyz min_gap 3\n"
        "fix m all mollifield/uncertainty 2 file most.xyz max_frames 2\n"
        "thermo_style custom step f_g[5] f_g[6] f_m[5] f_m[6]\nthermo 1\nrun 7"
    )
    result, _ = start(tmp_path, ethanol(), stated_model, commands, n_ranks=2)
    assert steps_of(tmp_path / "gap.xyz") == [0, 3, 6]
    assert steps_of(tmp_path / "most.xyz") == [0, 2]
    assert result.thermo["f_g[5]"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3]
    assert result.thermo["f_g[6]"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert result.thermo["f_m[6]"].tolist() == [0, 1, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_novelty_is_an_online_filter(n_ranks, stated_model, tmp_path):
    """The same choice as from all frames of the run afterwards, in Python."""
    d = 0.6
    commands = MOVING.replace("900", "3000") + (
        f"fix a all mollifield/uncertainty 1 file all.xyz\n"
        f"fix u all mollifield/uncertainty 1 file u.xyz novelty {d}\nrun 15"
    )
    start(tmp_path, sheared_crystal(), stated_model, commands, n_ranks)
    known, expected = [], []
    for frame in read_uncertain(tmp_path / "all.xyz"):
        atom = frame.info["trigger"] - 1
        features, symbol = latent(stated_model, frame)[0][atom], frame.symbols[atom]
        if any(s == symbol and np.linalg.norm(features - f) < d for f, s in known):
            continue
        known.append((features, symbol))
        expected.append(frame.info["step"])
    assert 2 < len(expected) < 16
    assert steps_of(tmp_path / "u.xyz") == expected


def test_frame_says_why(stated_model, tmp_path):
    atoms = ethanol()
    commands = "fix u all mollifield/uncertainty 1 quantity latent reduce mean file u.xyz\nrun 0"
    start(tmp_path, atoms, stated_model, commands)
    (frame,) = ase.io.read(tmp_path / "u.xyz", ":")
    force_std, distances = spread(stated_model, frame)[0], latent(stated_model, frame)[1]
    np.testing.assert_allclose(frame.arrays["latent_distance"], distances, atol=ATOL)
    np.testing.assert_allclose(frame.arrays["force_covariance_trace"], force_std**2, atol=ATOL)
    assert (frame.info["quantity"], frame.info["reduce"]) == ("latent", "mean")
    assert abs(frame.info["value"] - distances.mean()) < ATOL
    assert abs(frame.info["trigger_value"] - distances[frame.info["trigger"] - 1]) < ATOL
    assert abs(frame.info["force_noise_std"] - NOISE["force_noise_std"]) < ATOL
    assert frame.info["energy_noise_std"] == NOISE["energy_noise_std"]


def test_stop_kinds(stated_model, tmp_path):
    """As in fix halt: `hard` is an error, `soft` skips later runs, `continue` goes on with them."""
    text = MOVING + (
        "fix u all mollifield/uncertainty 1 stop 0.001 error {}\nrun 5\nunfix u\nthermo_style custom step\nrun 5"
    )
    message = "run ended at step 0: force std [0-9.]+ of atom [0-9] is above 0.001"
    with pytest.raises(LammpsError, match=message):
        start(tmp_path, ethanol(), stated_model, text.format("hard"))
    for kind, last in (("soft", 0), ("continue", 5)):
        result, _ = start(tmp_path, ethanol(), stated_model, text.format(kind))
        assert result.stopped
        assert result.thermo["Step"][-1] == last


SMALL_DISK = """
mount -t tmpfs -o size=64k tmpfs small || exit 99
"$@"
code=$?
cp small/u.xyz kept.xyz
exit $code
"""


def test_full_disk_leaves_whole_frames(stated_model, tmp_path):
    commands = MOVING + "fix u all mollifield/uncertainty 1 file u.xyz\nrun 20"
    message = "frame 1 of step 0 cannot be written to '/dev/full': No space left on device"
    with pytest.raises(LammpsError, match=message):
        start(tmp_path, new_crystal(), stated_model, commands.replace("u.xyz", "/dev/full"))
    deck = (tmp_path / "in.lammps").read_text().replace("/dev/full", "small/u.xyz")
    (tmp_path / "in.lammps").write_text(deck)
    (tmp_path / "small").mkdir()
    command = ["unshare", "-Urm", "bash", "-c", SMALL_DISK, "small", *lammps_command(1), "-in", "in.lammps"]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare to mount a small disk with")
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    if run.returncode in (1, 99) and "ERROR" not in run.stdout:
        pytest.skip(f"a small disk cannot be mounted here: {run.stderr}")
    assert run.returncode != 0
    frames = ase.io.read(tmp_path / "kept.xyz", ":")
    assert 1 < len(frames) < 20
    message = f"frame {len(frames) + 1} of step {len(frames)} cannot be written to 'small/u.xyz'"
    assert message in run.stdout
    assert (tmp_path / "kept.xyz").read_bytes().endswith(b"\n")


def test_calibration_tables(tmp_path, write_model):
    """The C++ engine's tables against the Python engine's, for atoms on both sides of the knots."""
    atoms = new_crystal()
    raw = MollifieldCalculator(write_model(n_members=4)).get_property("forces_std", atoms)
    low, high = np.quantile(raw, [0.3, 0.7])
    knots = torch.tensor([[low, 2.0 * low], [high, 2.2 * high]], dtype=torch.float64)
    energy = torch.tensor([[[0.1, 0.2], [50.0, 60.0]]], dtype=torch.float64)
    tables = {
        contract.FORCE_STD: torch.stack([knots, knots, 1.5 * knots]),
        contract.ENERGY_STD: energy,
        contract.FORCE_NOISE_STD: torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64),
    }
    model = write_model(n_members=4, calibration=tables)
    calculator = MollifieldCalculator(model)
    expected = calculator.get_property("forces_std", atoms)
    assert np.unique(np.round(expected / raw, 9)).size > 5
    commands = (
        "fix u all mollifield/uncertainty 1\nfix r all mollifield/uncertainty 1 calibrated no\n"
        "thermo_style custom step f_u[4] f_r\nthermo_modify format float %.17g\n"
        "dump d all custom 1 atoms.dump id f_u[*]\ndump_modify d sort id format float %.17g\nrun 0"
    )
    result, _ = start(tmp_path, atoms, model, commands)
    found = np.loadtxt(tmp_path / "atoms.dump", skiprows=9)
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-9)
    np.testing.assert_allclose(found[:, 2], np.where(atoms.numbers == 6, 0.2, 0.3), rtol=1e-12)
    assert abs(result.thermo["f_u[4]"][0] - calculator.get_property("energy_std", atoms) / len(atoms)) < ATOL
    assert abs(result.thermo["f_r"][0] - raw.max()) < ATOL


@pytest.mark.parametrize("units, n_ranks", [("metal", 1), ("metal", 2), ("real", 1)])
def test_a_torn_molecule_is_never_certain(units, n_ranks, stated_model, tmp_path):
    """No atom has a neighbour left, and the members agree that nothing pulls: but no such atom was in the data."""
    torn = ethanol()
    torn.positions *= 4.0
    force_std, energy_std, _, _ = spread(stated_model, torn)
    assert force_std.min() > 0.3
    commands = (
        "fix u all mollifield/uncertainty 1 file u.xyz\nfix r all mollifield/uncertainty 1 calibrated no\n"
        "thermo_style custom step f_u f_u[2] f_u[4] f_r f_r[4]\nthermo_modify format float %.17g lost error\nrun 0"
    )
    result, rotation = start(tmp_path, torn, stated_model, commands, n_ranks, units)
    unit = 1.0 if units == "metal" else EV_PER_KCAL_MOL
    thermo = {name: column[0] * unit for name, column in result.thermo.items()}
    assert abs(thermo["f_u"] - force_std.max()) < ATOL * force_std.max()
    assert abs(thermo["f_u[2]"] - force_std.mean()) < ATOL * force_std.max()
    assert abs(thermo["f_u[4]"] - energy_std) < ATOL * energy_std
    raw_force, raw_energy, _, _ = spread(stated_model, torn, factors={})
    assert abs(thermo["f_r"] - raw_force.max()) < ATOL * force_std.max()
    assert abs(thermo["f_r[4]"] - raw_energy) < ATOL * energy_std
    (frame,) = read_uncertain(tmp_path / "u.xyz", rotation)
    np.testing.assert_allclose(frame.arrays["force_std"], force_std, rtol=ATOL)
