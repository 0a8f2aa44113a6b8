"""The noise of labels, atom by atom: LAMMPS says what Python says, on any number of ranks."""

import numpy as np
import pytest

from mollifield import load_artefact, uncertainty
from mollifield_lammps import LammpsError, read_uncertain
from mollifield_train.export import export

from ..conftest import ethanol, sheared_crystal
from ..contract.noise import committee, noise_head
from ..contract.samples import sampled_potential
from .committee import ATOL, FACTORS, spread, start
from .conftest import python_answer

COLUMNS = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A committee, with a head for each member, and samples on one trunk."""
    folder = tmp_path_factory.mktemp("noise")
    frames = [ethanol(), sheared_crystal()]
    export(committee(), folder / "committee.pt", frames, {}, FACTORS, noise_head=noise_head(3))
    export(sampled_potential(), folder / "samples.pt", frames, {}, FACTORS, splines=False, noise_head=noise_head(1))
    return folder


@pytest.mark.parametrize(
    "name, n_ranks, halo",
    [("committee", 1, "exchange"), ("committee", 2, "ghost"), ("committee", 4, "exchange"), ("samples", 2, "exchange")],
)
def test_both_engines_say_the_same(models, name, n_ranks, halo, tmp_path):
    model = models / f"{name}.pt"
    atoms = sheared_crystal() * (2, 1, 1)
    atoms.rattle(0.1, seed=3)
    commands = (
        "fix a all mollifield/uncertainty 1 quantity aleatoric reduce mean file a.xyz\n"
        "fix t all mollifield/uncertainty 1 quantity total\nfix e all mollifield/uncertainty 1 quantity epistemic\n"
        "fix p all pair 1 mollifield aleatoric_covariance 1 aleatoric_std 0\n"
        "thermo_style custom step f_a f_a[7] f_t f_e\nthermo_modify format float %.17g\n"
        "dump d all custom 1 d.dump id f_p[*] f_a[2]\ndump_modify d sort id format float %.17g\nrun 0"
    )
    result, rotation = start(tmp_path, atoms, model, commands, n_ranks, pair=f"mollifield halo {halo}")
    answer = python_answer(model, atoms)
    noise = uncertainty.aleatoric(load_artefact(model, verify=False), answer)
    scale = noise.forces_std.max()
    assert scale > 1.2 * noise.forces_std.min()
    rows = np.loadtxt(tmp_path / "d.dump", skiprows=9)[:, 1:]
    expected = rotation.T @ noise.forces_cov @ rotation
    found = np.stack([expected[:, a, b] for a, b in COLUMNS], axis=1)
    np.testing.assert_allclose(rows[:, :6], found, rtol=0, atol=ATOL * max(1.0, scale**2))
    np.testing.assert_allclose(rows[:, 6], noise.forces_std, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(rows[:, 7], rows[:, 6])
    force_std = spread(model, atoms)[0]
    thermo = {key: column[0] for key, column in result.thermo.items()}
    assert abs(thermo["f_a"] - noise.forces_std.mean()) < ATOL
    assert abs(thermo["f_a[7]"] - np.sqrt(np.mean(noise.forces_std**2))) < ATOL
    assert abs(thermo["f_e"] - force_std.max()) < ATOL
    assert abs(thermo["f_t"] - np.hypot(force_std, noise.forces_std).max()) < ATOL
    (frame,) = read_uncertain(tmp_path / "a.xyz")
    np.testing.assert_allclose(frame.arrays["aleatoric_std"], noise.forces_std, rtol=0, atol=ATOL)
    assert abs(frame.info["energy_noise_std"] - noise.energy_std / len(atoms)) < ATOL
    assert frame.info["quantity"] == "aleatoric"


def test_units(models, tmp_path):
    """Of kcal/mol and Å; frames are in eV and Å."""
    found = {}
    for units in ("metal", "real"):
        commands = (
            "fix a all mollifield/uncertainty 1 quantity aleatoric file a.xyz\nthermo_style custom step f_a\n"
            "thermo_modify format float %.17g\nrun 0"
        )
        result, _ = start(tmp_path / units, ethanol(), models / "committee.pt", commands, units=units)
        (frame,) = read_uncertain(tmp_path / units / "a.xyz")
        found[units] = (result.thermo["f_a"][0], frame.info["value"], frame.info["energy_noise_std"])
    assert found["real"][0] == pytest.approx(23.060549 * found["metal"][0], rel=1e-9)
    np.testing.assert_allclose(found["real"][1:], found["metal"][1:], rtol=1e-9)


@pytest.mark.parametrize("quantity", ["aleatoric", "total"])
def test_a_file_that_states_no_noise_is_refused(model_file, quantity, tmp_path):
    commands = f"fix u all mollifield/uncertainty 1 quantity {quantity}\nrun 0"
    with pytest.raises(LammpsError, match="needs a model file that states the noise of its labels"):
        start(tmp_path, ethanol(), model_file, commands)
