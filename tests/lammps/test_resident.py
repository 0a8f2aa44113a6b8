"""`edges device`: the neighbour list stays where the model runs, positions go there, forces come back.

On a machine without a GPU "there" is the CPU too: the same code, and the same count of what would have crossed.
"""

import numpy as np
import pytest
import torch

from mollifield_lammps import LammpsError, write_data

from ..conftest import sheared_crystal
from ..lammps_runner import run_deck
from .committee import ATOL
from .conftest import SPECIES, deck, lammps_answer

MOVING = """
velocity all create 600 1
timestep 0.0005
neighbor 0.4 bin
neigh_modify every 2 delay 0 check yes
fix nve all nve
thermo 5
"""
ALL = """
fix u all mollifield/uncertainty 5
compute w all pair mollifield
thermo_style custom step pe pxx pyy pzz pxy pxz pyz f_u f_u[2] f_u[4] c_w[*]
thermo_modify format float %.17g
dump d all custom 5 atoms.dump id x y z fx fy fz f_u[1]
dump_modify d sort id format float %.17g
run 10
"""


def ran(model, directory, pair, commands=MOVING + ALL, n_ranks=1):
    """Columns of the thermo output, and all rows of the dump."""
    directory.mkdir()
    atoms = sheared_crystal() * (1, 1, 2)
    write_data(directory / "atoms.data", atoms, SPECIES)
    result = run_deck(deck(model, "p p p", commands, pair=f"mollifield {pair}"), directory, n_ranks)
    lines = (directory / "atoms.dump").read_text().splitlines()
    rows = [line.split() for line in lines if line[0].isdigit() and len(line.split()) == 8]
    return result.thermo, np.array(rows, dtype=float)


@pytest.mark.parametrize("n_ranks, driver", [(1, "mean"), (1, "member 1"), (2, "mean")])
def test_same_dynamics_and_spread(n_ranks, driver, stated_model, tmp_path):
    """Through several neighbour lists."""
    thermo, rows = ran(stated_model, tmp_path / "device", f"edges device driver {driver}", n_ranks=n_ranks)
    expected, expected_rows = ran(stated_model, tmp_path / "host", f"edges host driver {driver}", n_ranks=n_ranks)
    assert len(rows) == 3 * len(set(rows[:, 0])) and rows[-1, 1] != rows[0, 1]
    np.testing.assert_allclose(rows, expected_rows, rtol=1e-9, atol=ATOL)
    for name, values in expected.items():
        if name not in {f"c_w[{k}]" for k in range(2, 11)}:  # of ranks, there are more ghosts in a list with a skin
            np.testing.assert_allclose(thermo[name], values, rtol=1e-7, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_one_upload_and_one_download_a_step(n_ranks, model_file, tmp_path):
    """And with several ranks those of the ghosts' features: once for each layer after the first, each way."""
    commands = (
        "neighbor 1.0 bin\nneigh_modify every 4 delay 0 check no\ntimestep 1e-6\nfix nve all nve\n"
        "compute w all pair mollifield\nvariable rows equal atoms\nthermo 1\n"
        "thermo_style custom step c_w[*]\nthermo_modify format float %.17g\n"
        "dump d all custom 8 atoms.dump id x y z fx fy fz type\nrun 8"
    )
    thermo, _ = ran(model_file, tmp_path / "run", "edges device", commands, n_ranks)
    edges, nodes, uploads, up_bytes, downloads, down_bytes = (thermo[f"c_w[{k}]"] for k in (1, 2, 7, 8, 9, 10))
    renewed = np.arange(9) % 4 == 0
    of_ghosts = n_ranks * 2 * (n_ranks > 1)  # two layers: one forward and one reverse, of all ranks
    assert downloads.tolist() == [n_ranks + of_ghosts] * 9
    assert uploads[~renewed].tolist() == [n_ranks + of_ghosts] * 6
    assert uploads[renewed].tolist() == [6 * n_ranks + of_ghosts] * 3  # and the list: five arrays
    if n_ranks == 1:
        n = nodes[0]
        assert (down_bytes == 8 * (3 * n + n + 3 + 9 + 1)).all()  # forces, energies, of members, virial, shortest
        assert (up_bytes[~renewed] % 24 == 0).all() and (up_bytes[~renewed] >= 24 * n).all()
        assert (up_bytes[renewed] > up_bytes[1] + 8 * edges[0]).all()


def test_virials_by_atom_are_sums_over_edges_of_the_host(model_file, tmp_path):
    atoms = sheared_crystal()
    found = lammps_answer(model_file, atoms, tmp_path / "device", pair="mollifield edges device")
    expected = lammps_answer(model_file, atoms, tmp_path / "host", pair="mollifield edges host")
    for name in ("energy", "forces", "virial", "atomic_energies", "atomic_virials", "atomic_virials_6"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_types_that_change_without_a_new_list(n_ranks, model_file, tmp_path):
    """Of an atom on one of two ranks, which must not wait for the other."""
    commands = (
        "neigh_modify every 100 delay 100 check no\ntimestep 1e-6\nfix nve all nve\nthermo 1\n"
        "thermo_style custom step pe\nthermo_modify format float %.17g\n"
        "dump d all custom 100 atoms.dump id x y z fx fy fz type\nrun 1\nset atom 1 type 3\nrun 2 pre no"
    )
    found, _ = ran(model_file, tmp_path / "device", "edges device", commands, n_ranks)
    expected, _ = ran(model_file, tmp_path / "host", "edges host", commands, n_ranks)
    energies = found["PotEng"]
    assert abs(energies[-1] - energies[0]) > 1e-3
    np.testing.assert_allclose(energies, expected["PotEng"], rtol=1e-10)


def test_atoms_on_top_of_each_other_are_named(model_file, tmp_path):
    atoms = sheared_crystal()
    atoms.positions[3] = atoms.positions[5] + [0.0, 0.0, 1e-4]
    write_data(tmp_path / "atoms.data", atoms, SPECIES)
    messages = []
    for edges in ("device", "host"):
        with pytest.raises(LammpsError) as failure:
            run_deck(deck(model_file, "p p p", "run 0", pair=f"mollifield edges {edges}"), tmp_path)
        messages.append(str(failure.value).split("ERROR")[1].splitlines()[0])
    assert "atoms 4 and 6 are" in messages[0] or "atoms 6 and 4 are" in messages[0]
    assert messages[0].split(" (")[0] == messages[1].split(" (")[0]


def test_unknown_edges(model_file, tmp_path):
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    with pytest.raises(LammpsError, match="unknown edges 'gpu'; allowed: auto, host, device"):
        run_deck(deck(model_file, "p p p", "run 0", pair="mollifield edges gpu"), tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_numbers_of_the_cpu(stated_model, tmp_path):
    thermo, rows = ran(stated_model, tmp_path / "gpu", "device cuda")
    expected, expected_rows = ran(stated_model, tmp_path / "cpu", "device cpu")
    np.testing.assert_allclose(rows, expected_rows, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(thermo["PotEng"], expected["PotEng"], rtol=1e-10)
