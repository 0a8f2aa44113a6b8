"""The same numbers on every number of ranks, with features exchanged between them and with ghosts computed.

One LAMMPS process goes through all scenarios, because starting it costs more than they do. A scenario is a structure
and what is done to it; forces, energies and virials of atoms, forces' std and the total are compared with those of
one rank. float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mollifield_lammps import LammpsError, lammps_boundary, write_data

from ..conftest import R_MAX, ethanol, sheared_crystal, slab
from ..lammps_runner import run_deck
from .conftest import SPECIES, deck, lammps_answer
from .test_pair import large_crystal, tiny_crystal

ATOL = 1e-9  # eV, Å: sums of the same terms of up to 1e3 in another order

DYNAMICS = """
balance 1.0 rcb
velocity all create 3000 4711 loop geom
timestep 2e-4
neigh_modify every 2 delay 0 check no
fix n all nve
fix b all balance 2 1.0 rcb
region low block INF INF INF INF INF 3.0 units box
group gone region low
run 8 post no every 4 "group gone clear" "group gone region low" "delete_atoms group gone compress no" &
    "create_atoms 1 single 1.5 2.5 1.0 units box"
"""

OUTPUT = """
compute e all pe/atom pair
compute c all centroid/stress/atom NULL pair
compute s all stress/atom NULL pair
compute p all pressure NULL pair
fix u all mollifield/uncertainty 1
thermo_style custom step pe c_p[*] f_u[*]
dump d all custom 1 out.dump id type x y z fx fy fz c_e c_c[*] c_s[*] f_u[1]
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


SCENARIOS = {
    "grid": Scenario(large_crystal, "processors 1 1 *"),
    "shift": Scenario(half_empty, after="balance 1.0 shift xyz 10 1.01"),
    "slab": Scenario(slab),
    "corner": Scenario(corner),
    "crossing": Scenario(crossing, "comm_style tiled", "balance 1.0 rcb"),
    "tiny": Scenario(tiny_crystal),
    "exclude": Scenario(sheared_crystal, after="neigh_modify exclude type 2 3"),
    "bonded": Scenario(corner, "special_bonds lj/coul 1 0.5 1", "bond_coeff *", style="bond"),
    "created": Scenario(half_empty, "comm_style tiled", DYNAMICS),
    "multi": Scenario(large_crystal, after="neighbor 2.0 multi\ncomm_modify mode multi"),
}

CASES = [
    (2, "exchange", ["grid", "slab", "bonded", "created"]),
    (3, "exchange", ["shift", "exclude", "tiny", "multi"]),
    (4, "exchange", ["corner", "crossing", "tiny", "created"]),
    (8, "exchange", ["created"]),
    (2, "ghost", ["shift", "slab"]),
    (4, "ghost", ["corner", "tiny"]),
]


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


def run_all(model: Path, directory: Path, n_ranks: int, halo: str, names: list[str]) -> Outcome:
    directory.mkdir()
    text = "".join(scenario_deck(name, model, halo, directory) for name in names)
    log = run_deck(text, directory, n_ranks).log.read_text()
    assert [line for line in log.splitlines() if line.startswith("done")] == [f"done {name}" for name in names]
    totals, atoms = {}, {}
    for name, part in zip(names, log.split("print 'done"), strict=False):
        lines = part.splitlines()
        last = max(k for k, line in enumerate(lines) if line.split()[:2] == ["Step", "PotEng"])
        totals[name] = np.array([float(word) for word in lines[last + 1].split()])
        atoms[name] = np.loadtxt(directory / f"{name}.dump", skiprows=9, ndmin=2)
    return Outcome(totals, atoms)


@pytest.fixture(scope="module")
def alone(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_all(model_file, tmp_path_factory.mktemp("alone") / "run", 1, "exchange", list(SCENARIOS))


@pytest.mark.parametrize("n_ranks, halo, names", CASES)
def test_ranks_agree(n_ranks, halo, names, alone, model_file, tmp_path):
    outcome = run_all(model_file, tmp_path / "run", n_ranks, halo, names)
    for name in names:
        atoms, expected = outcome.atoms[name], alone.atoms[name]
        np.testing.assert_array_equal(atoms[:, :2], expected[:, :2], err_msg=name)
        assert_close(atoms, expected, np.abs(expected).max(axis=0), name)
        assert_close(outcome.totals[name], alone.totals[name], len(atoms) * np.abs(alone.totals[name]), name)


def assert_close(found: np.ndarray, expected: np.ndarray, size: np.ndarray, name: str) -> None:
    """Within `ATOL` of 1 or of `size`, whichever is larger."""
    scale = np.maximum(1.0, size)
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0.0, atol=ATOL, err_msg=name)


def test_scenarios_are_not_trivial(alone):
    """Atoms left and came; exclusion and the committee show; forces are those of a real interaction."""
    tags = alone.atoms["created"][:, 0]
    assert len(tags) < 96 and tags.max() > 7 * 96 + 11
    for name, atoms in alone.atoms.items():
        assert np.abs(atoms[:, 5:8]).max() > 0.01, name
        assert atoms[:, -1].max() > 0.0, name


def test_exclusion_changes_the_energy(alone, model_file, tmp_path):
    energy = lammps_answer(model_file, sheared_crystal(), tmp_path).energy
    assert abs(energy - alone.totals["exclude"][1]) > 1.0


def test_work_of_ranks(model_file, tmp_path):
    """Exchange evaluates every edge and atom once, whatever the number of ranks; computed ghosts come on top."""
    counts = {}
    for n_ranks, halo in [(1, "exchange"), (4, "exchange"), (4, "ghost")]:
        write_data(tmp_path / "atoms.data", large_crystal(), SPECIES)
        commands = "compute w all pair mollifield\nthermo_style custom step c_w[*]\nrun 0"
        text = deck(model_file, "p p p", commands, pair=f"mollifield halo {halo}")
        thermo = run_deck(text, tmp_path, n_ranks).thermo
        counts[n_ranks, halo] = [thermo[f"c_w[{k}]"][0] for k in (1, 2, 3)]
    alone, exchange, ghost = counts.values()
    assert exchange[:2] == alone[:2] and alone[1:] == [96, 0]
    assert exchange[2] > 96
    assert ghost[0] > 1.6 * alone[0] and ghost[1] > 1.6 * alone[1] and ghost[2] == 0


TRAFFIC = """
neigh_modify every 2 delay 0 check no
compute w all pair mollifield
thermo 1
thermo_style custom step c_w[*]
thermo_modify format float %.17g
velocity all create 10 1
fix n all nve
timestep 1e-7
run 3
"""


def traffic(model: Path, atoms: Atoms, grid: str, directory: Path, n_ranks: int) -> np.ndarray:
    """[step, 3]: messages, bytes and collectives, summed over ranks."""
    write_data(directory / "atoms.data", atoms, SPECIES)
    thermo = run_deck(deck(model, "p p p", TRAFFIC, before=f"processors {grid}"), directory, n_ranks).thermo
    return np.stack([thermo[f"c_w[{k}]"] for k in (4, 5, 6)], axis=1)


def test_traffic_of_a_rank_is_constant(model_file, tmp_path):
    """Ranks in a row, of one size each: from three on each has two neighbours. Collectives only with a new list."""
    part = large_crystal()
    found = {n: traffic(model_file, part * (1, 1, n), "1 1 *", tmp_path, n) / n for n in (1, 2, 4, 8)}
    assert not found[1].any()
    np.testing.assert_array_equal(found[8], found[4])
    np.testing.assert_array_equal(found[4][:, 0] / found[2][:, 0], 2.0)
    np.testing.assert_array_equal(found[4][:, 1], found[2][:, 1])
    made, kept = found[4][[0, 2]], found[4][[1, 3]]
    np.testing.assert_array_equal(kept, kept[:1].repeat(2, axis=0))
    assert kept[0, 0] == 6 and kept[0, 2] == 0  # for each neighbour: what is asked, features, gradients
    np.testing.assert_array_equal(made - kept, [[2, 0, 2]] * 2)


def test_traffic_is_that_of_the_decomposition(model_file, monkeypatch, tmp_path):
    """What `benchmarks/ranks.py --simulate` computes for thousands of ranks, at eight."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from decomposition import Exchange, traffic_of

    atoms = bulk("CO", "rocksalt", a=4.2, cubic=True) * (4, 4, 4)
    atoms.rattle(0.1, seed=3)
    atoms.wrap()
    row_bytes = 3 * 9 * 8 * 8  # members, components, channels, bytes of a number
    expected = [
        traffic_of(rank, atoms.positions, atoms.cell.lengths(), (2, 2, 2), R_MAX, 2.0, Exchange((row_bytes,)))
        for rank in range(8)
    ]
    found = traffic(model_file, atoms, "2 2 2", tmp_path, 8)[1]
    assert found[0] == sum(t.messages for t in expected) and found[1] == sum(t.bytes for t in expected)
    assert all(t.n_met == 7 for t in expected)


@pytest.mark.parametrize(
    "pair, message",
    [
        ("mollifield halo", "keyword 'halo' has no value"),
        ("mollifield halo both", "unknown halo 'both'; allowed: exchange, ghost"),
    ],
)
def test_wrong_halo(pair, message, model_file, tmp_path):
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    with pytest.raises(LammpsError, match=message):
        run_deck(deck(model_file, "p p p", "run 0", pair=pair), tmp_path)


def test_ghost_mode_names_what_it_cannot(model_file, tmp_path):
    write_data(tmp_path / "atoms.data", large_crystal(), SPECIES)
    commands = "neighbor 2.0 multi\ncomm_modify mode multi\nrun 0"
    with pytest.raises(LammpsError, match="halo ghost needs comm_modify mode single"):
        run_deck(deck(model_file, "p p p", commands, pair="mollifield halo ghost"), tmp_path, 2)
