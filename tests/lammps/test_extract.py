"""Uncertainty through the commands that users of other potentials know."""

import numpy as np
import pytest

from mollifield_lammps import LammpsError

from ..conftest import sheared_crystal
from .committee import ATOL, FACTORS, NOISE, spread, start
from .conftest import python_answer
from .test_fix_select import MOVING, latent

FIELDS = "force_std 1 aleatoric_std 0 latent_distance 0 force_mean 0 force_covariance 0"


@pytest.mark.parametrize("n_ranks", [1, 4])
def test_fix_pair_and_dump_custom(n_ranks, stated_model, tmp_path):
    """All columns; one trigger is enough for all of them. Of four ranks some have no atom."""
    atoms = sheared_crystal()
    atoms.set_cell(atoms.cell.array * [[1.0], [1.0], [4.0]])
    atoms.rattle(0.1, seed=3)
    commands = (
        f"fix p all pair 10 mollifield {FIELDS}\n"
        "dump d all custom 10 atoms.dump id f_p[*] proc\ndump_modify d sort id format float %.17g\nrun 0"
    )
    _, rotation = start(tmp_path, atoms, stated_model, commands, n_ranks, before=f"processors 1 1 {n_ranks}")
    found = np.loadtxt(tmp_path / "atoms.dump", skiprows=9)[:, 1:]
    assert n_ranks == 1 or len(set(found[:, -1])) < n_ranks
    force_std, _, forces, _ = spread(stated_model, atoms)
    members = python_answer(stated_model, atoms).forces.numpy() @ rotation
    deviation = members - members.mean(axis=0)
    covariance = np.einsum("mia,mib->iab", deviation, deviation) / (len(members) - 1)
    covariance *= FACTORS["force_std_factor"] ** 2
    outside = force_std**2 - np.trace(covariance, axis1=1, axis2=2)  # isotropic
    assert outside.max() > 1.0
    covariance += outside[:, None, None] / 3.0 * np.eye(3)
    np.testing.assert_allclose(found[:, 0], force_std, atol=ATOL)
    np.testing.assert_allclose(found[:, 1], NOISE["force_noise_std"], atol=ATOL)
    np.testing.assert_allclose(found[:, 2], latent(stated_model, atoms)[1], atol=1e-6)
    np.testing.assert_allclose(found[:, 3:6], forces @ rotation, atol=ATOL)
    for column, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)], start=6):
        np.testing.assert_allclose(found[:, column], covariance[:, a, b], rtol=1e-9, atol=ATOL)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_reduce_variable_and_halt(n_ranks, stated_model, tmp_path):
    """compute reduce and a variable of it, which fix halt stops at; every second step asks for members."""
    atoms = sheared_crystal()
    highest = spread(stated_model, atoms)[0].max()
    commands = MOVING + (
        "fix p all pair 2 mollifield force_std 1\ncompute worst all reduce max f_p\n"
        "variable worst equal c_worst\nvariable half atom f_p/2\ncompute half all reduce max v_half\n"
        "thermo 2\nthermo_style custom step c_worst v_worst c_half\nthermo_modify format float %.17g\n"
        f"fix h all halt 2 v_worst > {0.5 * highest} error continue\nrun 20\nprint 'went on'"
    )
    result, _ = start(tmp_path, atoms, stated_model, commands, n_ranks)
    worst = result.thermo["c_worst"]
    assert abs(worst[0] - highest) < ATOL
    assert result.thermo["v_worst"].tolist() == worst.tolist()
    np.testing.assert_allclose(result.thermo["c_half"], worst / 2, rtol=1e-15)
    assert result.thermo["Step"].tolist() == [0, 2]
    assert "Fix halt condition for fix-id h met on step 2" in result.log.read_text()
    assert "went on" in result.log.read_text()


def test_without_a_trigger_another_fix_has_to_ask(stated_model, tmp_path):
    """`force_std 0` reads what a step computed anyway, and never the values of another step."""
    atoms = sheared_crystal()
    reader = "fix p all pair 2 mollifield force_std 0\n"
    asked = (
        "fix u all mollifield/uncertainty 2\n"
        + reader
        + ("dump d all custom 2 both.dump id f_u[1] f_p\ndump_modify d format float %.17g\nrun 4")
    )
    start(tmp_path, atoms, stated_model, MOVING + asked)
    blocks = (tmp_path / "both.dump").read_text().split("ITEM: ATOMS")[1:]
    assert len(blocks) == 3
    for block in blocks:
        rows = np.loadtxt(block.splitlines()[1 : 1 + len(atoms)])
        assert rows[:, 1].all()
        np.testing.assert_array_equal(rows[:, 1], rows[:, 2])
    commands = MOVING + "fix u all mollifield/uncertainty 4\n" + reader + "run 4"
    with pytest.raises(LammpsError, match="Fix pair cannot extract property force_std"):
        start(tmp_path, atoms, stated_model, commands)
