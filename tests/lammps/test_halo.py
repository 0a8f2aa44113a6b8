"""The same numbers on every number of ranks, with features exchanged between them and with ghosts computed.

One LAMMPS process goes through all scenarios, because starting it costs more than they do. A scenario is a structure and
what is done to it; forces, energies and virials of atoms, forces' std and the total are compared with those of
one rank. float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mollifield_lammps import LammpsError, lammps_boundary, run_lammps, write_data

from ..conftest import ethanol, sheared_crystal, slab
from .conftest import SPECIES, deck, lammps_answer
from .test_pair import large_crystal, tiny_crystal

ATOL = 1e-9  # eV, Å: sums of the same terms of up to 1e3 in another order

DYNAMICS = """
velocity all create 3000 4711 loop geom
timestep 2e-4
neigh_modify every 2 delay 0 check no
fix n all nve
"""

OUTPUT = """
compute e all pe/atom pair
compute c all centroid/stress/atom NULL pair
compute s all stress/atom NULL pair
compute p all pressure NULL pair
fix u all mollifield/uncertainty 1
thermo_style custom step pe c_p[*] f_u[*]
dump d all custom 1 out.dump id type x y z fx fy fz c_e c_c[*] c_s[*] f_u
dump_modify d sort id format float %.17g
run 0 post no
shell mv out.dump {name}.dump
"""


@dataclass
class Scenario:
    atoms: Callable[[], Atoms]
    before: str = ""  # commands before the box exists
    after: str = ""  # commands after pair_coeff
    style: str = "atomic"


def corner() -> Atoms:
    """A molecule in a corner of a wide box: most ranks own nothing."""
    atoms = ethanol()
    atoms.set_cell([60.0, 60.0, 60.0])
    atoms.pbc = True
    atoms.positions += 3.0 - atoms.positions.min(axis=0)
    return atoms


def half_empty() -> Atoms:
    """A crystal with as much vacuum beside it."""
    atoms = large_crystal()
    atoms.set_cell(atoms.cell.array * [[1], [1], [2]])
    return atoms


def crossing() -> Atoms:
    """A molecule through all six faces of a box."""
    atoms = ethanol()
    atoms.set_cell([9.0, 9.5, 10.0])
    atoms.pbc = True
    atoms.positions -= atoms.positions.mean(axis=0)
    atoms.wrap()
    return atoms


CREATE_AND_DELETE = (
    DYNAMICS
    + """
region low block INF INF INF INF INF 3.0 units box
group gone region low
run 8 post no every 4 "group gone clear" "group gone region low" "delete_atoms group gone compress no" &
    "create_atoms 1 single 1.5 2.5 1.0 units box"
"""
)

SCENARIOS = {
    "grid": Scenario(large_crystal, "processors 1 1 *"),
    "shift": Scenario(half_empty, after="balance 1.0 shift xyz 10 1.01"),
    "tiled": Scenario(half_empty, "comm_style tiled", "balance 1.0 rcb"),
    "slab": Scenario(slab),
    "corner": Scenario(corner),
    "crossing": Scenario(crossing, "comm_style tiled", "balance 1.0 rcb"),
    "tiny": Scenario(tiny_crystal),
    "exclude": Scenario(sheared_crystal, after="neigh_modify exclude type 2 3"),
    "bonded": Scenario(corner, "special_bonds lj/coul 1 0.5 1", "bond_coeff *", style="bond"),
    "moving": Scenario(large_crystal, after=DYNAMICS + "run 6 post no"),
    "rebalanced": Scenario(half_empty, "comm_style tiled", DYNAMICS + "fix b all balance 2 1.0 rcb\nrun 6 post no"),
    "created": Scenario(large_crystal, after=CREATE_AND_DELETE),
    "multi": Scenario(large_crystal, after="neighbor 2.0 multi\ncomm_modify mode multi"),
}
GHOST_CANNOT = {"multi"}


def spread_tags(path: Path) -> None:
    """Atom n becomes atom 7 n + 11."""
    head, rows = path.read_text().split("Atoms  # atomic\n\n")
    lines = (line.split(maxsplit=1) for line in rows.splitlines())
    path.write_text(head + "Atoms  # atomic\n\n" + "".join(f"{7 * int(n) + 11} {rest}\n" for n, rest in lines))


def scenario_deck(name: str, model: Path, halo: str, directory: Path) -> str:
    scenario = SCENARIOS[name]
    atoms = scenario.atoms()
    data = directory / f"{name}.data"
    write_data(data, atoms, SPECIES)
    spread_tags(data)
    text = deck(model, lammps_boundary(atoms), "", pair=f"mollifield halo {halo}", before=scenario.before)
    text = text.replace("read_data atoms.data", f"read_data {data.name}")
    if scenario.style == "bond":
        add_bonds(data, atoms)
        text = text.replace("atom_style atomic", "atom_style bond\nbond_style zero")
    return text + scenario.after + OUTPUT.format(name=name) + f"print 'done {name}'\nclear\n"


def add_bonds(path: Path, atoms: Atoms) -> None:
    """One molecule in which atoms nearer than 1.7 Å are bonded."""
    head, rows = path.read_text().split("Atoms  # atomic\n\n")
    words = [line.split() for line in rows.splitlines()]
    pairs = [(i, j) for i in range(len(words)) for j in range(i) if atoms.get_distance(i, j) < 1.7]
    head = head.replace("atom types", f"atom types\n{len(pairs)} bonds\n1 bond types")
    lines = [f"{tag} 1 {' '.join(rest)}" for tag, *rest in words] + ["", "Bonds", ""]
    lines += [f"{k} 1 {words[i][0]} {words[j][0]}" for k, (i, j) in enumerate(pairs, 1)]
    path.write_text(head + "Atoms\n\n" + "\n".join(lines) + "\n")


@dataclass
class Outcome:
    totals: dict[str, np.ndarray]
    atoms: dict[str, np.ndarray]


def run_all(model: Path, directory: Path, n_ranks: int, halo: str) -> Outcome:
    directory.mkdir()
    names = [name for name in SCENARIOS if halo == "exchange" or name not in GHOST_CANNOT]
    text = "".join(scenario_deck(name, model, halo, directory) for name in names)
    log = run_lammps(text, directory, n_ranks).log.read_text()
    assert [line for line in log.splitlines() if line.startswith("done")] == [f"done {name}" for name in names]
    totals, atoms = {}, {}
    for name, part in zip(names, log.split("print 'done")):
        lines = part.splitlines()
        last = max(k for k, line in enumerate(lines) if line.split()[:2] == ["Step", "PotEng"])
        totals[name] = np.array([float(word) for word in lines[last + 1].split()])
        atoms[name] = np.loadtxt(directory / f"{name}.dump", skiprows=9, ndmin=2)
    return Outcome(totals, atoms)


@pytest.fixture(scope="module")
def alone(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_all(model_file, tmp_path_factory.mktemp("alone") / "run", 1, "exchange")


@pytest.mark.parametrize(
    "n_ranks, halo",
    [(2, "exchange"), (3, "exchange"), (4, "exchange"), (8, "exchange"), (1, "ghost"), (2, "ghost"), (4, "ghost")],
)
def test_ranks_agree(n_ranks, halo, alone, model_file, tmp_path):
    outcome = run_all(model_file, tmp_path / "run", n_ranks, halo)
    for name, atoms in outcome.atoms.items():
        expected, n_atoms = alone.atoms[name], len(atoms)
        np.testing.assert_array_equal(atoms[:, :2], expected[:, :2], err_msg=name)
        scale = 1.0 + np.abs(expected).max(axis=0)
        np.testing.assert_allclose(atoms / scale, expected / scale, atol=ATOL, err_msg=name)
        scale = 1.0 + np.abs(alone.totals[name])
        np.testing.assert_allclose(
            outcome.totals[name] / scale, alone.totals[name] / scale, atol=ATOL * n_atoms, err_msg=name
        )
