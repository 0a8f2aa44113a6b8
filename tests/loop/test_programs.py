"""Reference methods that are programs of their own, and what an oracle remembers of a label."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read

from mollifield_lammps.locate import lammps_command
from mollifield_train.active.config import load_loop_config
from mollifield_train.oracle import make_calculator
from mollifield_train.oracle.calculators import AnyAseConfig, EmtConfig, OracleConfig, TbliteConfig
from mollifield_train.oracle.labels import compute_label
from mollifield_train.oracle.programs import CommandConfig, EspressoConfig, LammpsOracleConfig, PyscfConfig, VaspConfig
from tests.loop.test_labelling import HERE, crystal, label_all

SCRIPT = """
import sys, ase.io
from ase.calculators.emt import EMT
from ase.io import read
atoms = ase.io.read(sys.argv[1])
print("labelling", atoms.symbols)
if "fail" in sys.argv:
    sys.exit("the machine is on fire")
atoms.calc = EMT()
atoms.get_potential_energy()
if "energy" in sys.argv:
    del atoms.calc.results["forces"]
if "nothing" not in sys.argv:
    ase.io.write(sys.argv[2], atoms[:2] if "half" in sys.argv else atoms)
"""


def command(tmp_path: Path, more: str = "", **settings: Any) -> CommandConfig:
    script = tmp_path / "label.py"
    script.write_text(SCRIPT)
    return CommandConfig(command=f"{sys.executable} {script} {{input}} {{output}} {more}", **settings)


def test_a_command_labels_like_what_it_runs(tmp_path: Path) -> None:
    frames = [crystal("Al", 0), crystal("Cu", 1)]
    store, lines = label_all(tmp_path, frames, command(tmp_path, retries=0))
    assert not lines
    for atoms, row in zip(frames, store.training_frames("given", 0), strict=True):
        atoms.calc = EMT()
        assert row.atoms.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(row.atoms.get_forces(), atoms.get_forces(), atol=1e-7)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("fail", "ended with status 1: the machine is on fire"),
        ("nothing", "wrote no labelled.extxyz: labelling Al4"),
        ("energy", "wrote no forces; found: energies, energy"),
    ],
)
def test_a_command_that_fails_says_why(tmp_path: Path, more: str, reason: str) -> None:
    store, _ = label_all(tmp_path, [crystal("Al", 0)], command(tmp_path, more, retries=0))
    (row,) = store.frames(status="failed")
    assert reason in row.columns["reason"]


def test_a_command_without_a_place_for_its_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no {input} or no {output}"):
        make_calculator(CommandConfig(command="label.py {input}"))
    with pytest.raises(ValueError, match="braces that nothing fills: 'basis'"):
        make_calculator(CommandConfig(command="label.py {input} {output} {basis}"))


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(ValueError, match="no program 'no-such-lmp -k on'"):
        make_calculator(LammpsOracleConfig(command="no-such-lmp -k on"))


def test_vasp_is_ases(monkeypatch: pytest.MonkeyPatch) -> None:
    calculator: Any = make_calculator(VaspConfig(arguments={"command": "mpirun vasp_std", "encut": 500, "xc": "PBE"}))
    assert type(calculator).__name__ == "Vasp" and calculator.parameters["encut"] == 500


def test_espresso_is_asked_for_forces_and_stress(tmp_path: Path) -> None:
    config = EspressoConfig(
        pseudo_dir=tmp_path,
        pseudopotentials={"Si": "Si.UPF"},
        arguments={"input_data": {"system": {"ecutwfc": 12}}, "kpts": (2, 2, 2)},
    )
    calculator: Any = make_calculator(config)
    control = calculator.parameters["input_data"]["control"]
    assert control == {"tprnfor": True, "tstress": True}
    assert calculator.parameters["input_data"]["system"] == {"ecutwfc": 12}


def test_a_classical_potential_in_lammps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lennard-Jones of LAMMPS and of ASE, both cut off at the same distance without a shift."""
    from ase.calculators.lj import LennardJones

    monkeypatch.chdir(tmp_path)
    lmp = lammps_command()
    atoms = bulk("Ar", cubic=True, a=5.4).repeat(3)
    atoms.rattle(0.05, seed=3)
    config = LammpsOracleConfig(
        command=" ".join(map(str, lmp)),
        arguments={"pair_style": "lj/cut 6.0", "pair_coeff": ["1 1 0.0104 3.4"], "specorder": ["Ar"]},
    )
    label = compute_label(config, atoms)
    atoms.calc = LennardJones(epsilon=0.0104, sigma=3.4, rc=6.0, smooth=False)
    shift = 0.5 * 4 * 0.0104 * ((3.4 / 6) ** 12 - (3.4 / 6) ** 6)  # of ASE's, for each pair within the cutoff
    n_pairs = (atoms.get_all_distances(mic=True) < 6.0).sum() - len(atoms)
    assert label.energy == pytest.approx(atoms.get_potential_energy() + shift * n_pairs, abs=1e-3)
    np.testing.assert_allclose(label.forces, atoms.get_forces(), atol=1e-4)


def test_pyscf_against_finite_differences() -> None:
    pytest.importorskip("pyscf")
    config = PyscfConfig(xc="HF", basis="sto-3g", arguments={"conv_tol": 1e-10})
    water = Atoms("OHH", [[0, 0, 0], [0.96, 0, 0.1], [-0.24, 0.93, 0]])
    label = compute_label(config, water)
    ends = []
    for step in (1e-3, -1e-3):
        moved = water.copy()
        moved.positions[1, 0] += step
        ends.append(compute_label(config, moved).energy)
    assert label.forces[1, 0] == pytest.approx(-(ends[0] - ends[1]) / 2e-3, abs=1e-3)
    with pytest.raises(ValueError, match="is for molecules"):
        compute_label(config, bulk("Si"))
    with pytest.raises(ValueError, match="'arguments' has 'conv_tool'"):
        compute_label(config.model_copy(update={"arguments": {"conv_tool": 1}}), water)


def test_the_ladder_changes_arguments_attempt_by_attempt(tmp_path: Path) -> None:
    ladder = [{"mixing": {"beta": 0.3}}, {"mixing": {"beta": 0.1}, "log": "other"}]
    config = EmtConfig(arguments={"mixing": {"beta": 0.7, "kind": "plain"}, "log": "one"}, ladder=ladder)
    found = [config.at(attempt).arguments for attempt in (1, 2, 3, 9)]
    assert [values["mixing"]["beta"] for values in found] == [0.7, 0.3, 0.1, 0.1]
    assert [values["log"] for values in found] == ["one", "one", "other", "other"]
    assert all(values["mixing"]["kind"] == "plain" for values in found)


def test_a_frame_climbs_the_ladder_and_the_store_knows_it(tmp_path: Path) -> None:
    """The arguments of the third attempt work; the fingerprint of the label is theirs."""
    name = f"{HERE}.broken_calculators.FailsOnCopper"
    config = AnyAseConfig(
        calculator=name, arguments={"how": "raise"}, retries=2, ladder=[{"how": "nan"}, {"how": "works"}]
    )
    store, _ = label_all(tmp_path, [crystal("Al", 0), crystal("Cu", 1)], config)
    one, other = (frame.columns for frame in store.training_frames("given", 0))
    assert (one["calls"], other["calls"]) == (1, 3)
    assert (one["settings"], other["settings"]) == (config.fingerprint(), config.at(3).fingerprint())
    assert one["settings"] != other["settings"] and one["seconds"] >= 0.0 and ":" in one["host"]


def test_the_fingerprint_is_of_the_method_alone() -> None:
    one = TbliteConfig()
    assert one.fingerprint() == TbliteConfig(workers=7, timeout=3.0, retries=9).fingerprint()
    others = [TbliteConfig(method="GFN1-xTB"), TbliteConfig(arguments={"accuracy": 0.1}), EmtConfig()]
    assert len({one.fingerprint(), *(other.fingerprint() for other in others)}) == 4


def test_the_example_with_density_functional_theory_is_whole() -> None:
    """Its labels are of the settings that its config has today, wherever pw.x lies, and its frames are all there."""
    example = Path(__file__).parents[2] / "examples/silicon"
    config = load_loop_config(example / "loop.yaml")
    labels = read(example / "labels.extxyz", ":")
    assert {frame.info["settings"] for frame in labels} == {config.oracle.fingerprint()}
    moved = config.oracle.model_copy(update={"command": "mpirun -n 4 /opt/pw.x", "pseudo_dir": Path("/opt/pseudo")})
    assert moved.fingerprint() == config.oracle.fingerprint()
    n_asked = 1 + config.start.n_frames + config.rounds * config.batch
    assert len(labels) == n_asked and all(abs(frame.arrays["REF_forces"].sum(axis=0)).max() < 0.02 for frame in labels)
    assert len(read(example / "start.extxyz", ":")) == 1 and len(read(example / "test.extxyz", ":")) == 24


def test_forces_that_do_not_add_up_are_reported(tmp_path: Path) -> None:
    config: OracleConfig = AnyAseConfig(calculator=f"{HERE}.broken_calculators.Pulled")
    store, lines = label_all(tmp_path, [crystal("Al", 0)], config)
    assert len(store.training_frames("given", 0)) == 1
    assert len(lines) == 1 and "forces that add up to 0.50 eV/Å an atom" in lines[0]
