"""`mollifield data check`: what is said of frames, and that what is wrong with them is found and named."""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from mollifield_train.cli import main
from mollifield_train.data.frames import frames_from_atoms
from mollifield_train.data.survey import survey
from mollifield_train.data.work import odd_works, works

from .frames import labelled, moved_water, written


def copper(n_frames: int, strain: float = 0.04, rattle: float = 0.02) -> list[Atoms]:
    """Strained cells with moved atoms, labelled by EMT; groups 'cold' and 'hot' by turns."""
    rng = np.random.default_rng(5)
    images = []
    for k in range(n_frames):
        atoms = bulk("Cu", cubic=True)
        deformation = rng.uniform(-strain, strain, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (deformation + deformation.T)), scale_atoms=True)
        atoms.positions += rng.normal(scale=rattle, size=(4, 3))
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info["config_type"] = "hot" if k % 2 else "cold"
        images.append(atoms)
    return images


def relabelled(images: list[Atoms], label: str, change: Callable[[np.ndarray], np.ndarray]) -> list[Atoms]:
    for atoms in images:
        atoms.calc.results[label] = change(atoms.calc.results[label])
    return images


def lines_of(images: list[Atoms]) -> list[str]:
    return odd_works(frames_from_atoms(images, "a.xyz"))


def test_energies_agree_with_the_work_of_forces_and_stresses() -> None:
    found = works(frames_from_atoms(copper(20), "a.xyz"))
    assert found.slope == {"forces": pytest.approx(1.0, abs=0.25), "stress": pytest.approx(1.0, abs=0.25)}
    assert lines_of(copper(20)) == []


@pytest.mark.parametrize(
    ("label", "factor", "said"),
    [
        ("stress", -1.0, "as if it were positive under compression"),
        ("stress", 1.0 / GPa, "as if it were in GPa"),
        ("stress", -10.0 / GPa, "as if it were in kbar and positive under compression"),
        ("forces", -1.0, "as if they were gradients in place of forces"),
    ],
)
def test_wrong_signs_and_units_are_found(label: str, factor: float, said: str) -> None:
    (line,) = lines_of(relabelled(copper(20), label, lambda value: factor * value))
    assert line.startswith(f"{label} and energies of a.xyz contradict each other: in ") and line.endswith(said)


def test_a_strained_crystal_needs_no_forces() -> None:
    images = relabelled(copper(10, rattle=0.0), "stress", lambda stress: -stress)
    for atoms in images:
        del atoms.calc.results["forces"]
    assert "positive under compression" in lines_of(images)[0]


def test_strained_frames_without_a_stress_say_nothing_of_the_stress_of_others() -> None:
    """Energies of these change by a work that is not known; taken for none, it would tilt the slope."""
    images = copper(24)
    for atoms in images[::3]:
        del atoms.calc.results["stress"]
    found = works(frames_from_atoms(images, "a.xyz"))
    assert len(found.change) > 10 and (found.work["stress"] != 0.0).all()
    assert lines_of(images) == []


def test_files_are_judged_by_themselves_and_small_ones_together(tmp_path: Path) -> None:
    """The one origin with the other sign is not outvoted."""
    right, wrong = copper(30)[10:], relabelled(copper(10), "stress", lambda stress: -stress)
    paths = [written(tmp_path, *right, name="right.xyz"), written(tmp_path, *wrong, name="wrong.xyz")]
    (line,) = survey(paths).odd
    assert line.startswith(f"stress and energies of {paths[1]} contradict each other")
    files = [written(tmp_path, atoms, name=f"one-{k}.xyz") for k, atoms in enumerate(wrong)]
    assert survey(files).odd[0].startswith("stress and energies of 10 small files contradict each other")


def test_frames_that_lie_apart_say_nothing() -> None:
    assert lines_of(moved_water(2)) == []
    turned = copper(20)
    for k, atoms in enumerate(turned):
        atoms.rotate(5.0 * k, "z", rotate_cell=True)
    assert works(frames_from_atoms(turned, "a.xyz")).slope == {}


def test_contacts_and_net_forces_are_named(tmp_path: Path) -> None:
    images = copper(6)
    near = images[4].copy()
    near.positions[1] = near.positions[0] + [0.8, 0.0, 0.0]
    images[4] = labelled(near, energy=images[4].get_potential_energy())
    images[4].calc.results["forces"] = np.zeros((4, 3))
    images[2].calc.results["forces"][0] += 0.1
    path = written(tmp_path, *images)
    odd = survey([path]).odd
    assert f"atoms as near as 0.30 of the sum of their covalent radii: frame 4 of {path}" in odd
    assert (
        f"1 of 6 frames have a net force, as if each component were wrong by up to 50 meV/Å: frame 2 of {path}" in odd
    )


def test_the_command_counts_draws_and_goes_on_after_bad_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = copper(8)
    images[3].calc.results["forces"][1, 2] = np.nan
    images[5].positions[1] = images[5].positions[0]
    path = written(tmp_path, *images)
    (tmp_path / "torn.xyz").write_text("3\nProperties=species:S:1:pos:R:3\nH 0 0 0\n")
    png, numbers = tmp_path / "frames.png", tmp_path / "frames.json"
    assert main(["data", "check", str(tmp_path / "*.xyz"), "--png", str(png), "--json", str(numbers)]) == 1
    said = capsys.readouterr().out
    assert f"refused: frame 3 of {path}: 'forces' of atom 1 (Cu) not finite" in said
    assert f"refused: frame 5 of {path}: atoms 0 and 1 are 0 Å apart" in said
    assert f"refused: {tmp_path / 'torn.xyz'}: cannot be read as extended xyz: frame 0 is truncated" in said
    facts = json.loads(numbers.read_text())
    assert facts["labels"] == {"energy": 6, "forces": 6, "stress": 6}
    assert facts["by"]["config_type"]["cold"]["frames"] == 4 and facts["by"]["config_type"]["hot"]["frames"] == 2
    assert facts["by"]["composition"] == {"Cu4": {"frames": 6, "atoms": 24, "energy": 6, "forces": 6, "stress": 6}}
    kept = [atoms for k, atoms in enumerate(images) if k not in (3, 5)]
    pressures = [-np.trace(atoms.get_stress(voigt=False)) / 3.0 / GPa for atoms in kept]
    assert facts["ranges"]["pressure_GPa"]["greatest"] == pytest.approx(max(pressures), rel=1e-6)
    distances = [atoms.get_all_distances(mic=True)[np.triu_indices(4, 1)].min() for atoms in kept]
    assert facts["shortest_distances_A"] == {"Cu-Cu": pytest.approx(min(distances), rel=1e-6)}
    assert matplotlib.image.imread(png).std() > 0.05  # something is drawn


def test_nothing_odd_is_said_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(written(tmp_path, *copper(6)))]) == 0
    assert capsys.readouterr().out.endswith("nothing odd\n")


def test_species_that_compositions_do_not_tell_apart_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    water = moved_water(3)
    main(["data", "check", str(written(tmp_path, *water))])
    said = "energies of H, O are not told apart by these compositions"
    assert said in capsys.readouterr().out
    atom = labelled(Atoms("O"), energy=-10.0)
    main(["data", "check", str(written(tmp_path, *water, atom))])
    assert said not in capsys.readouterr().out


def test_a_config_says_how_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, *relabelled(copper(20), "stress", lambda stress: -stress / GPa))
    config = tmp_path / "train.yaml"
    config.write_text(
        "data: {train: other.xyz, origins: [{files: other.xyz}, {stress_unit: GPa, stress_sign: compression}]}"
    )
    command = ["data", "check", str(path)]
    assert main([*command, "--config", str(config)]) == 0
    assert "nothing odd" in capsys.readouterr().out
    assert main([*command, "--stress-unit", "GPa", "--stress-sign", "compression"]) == 0
    assert "nothing odd" in capsys.readouterr().out
    main(command)
    assert "as if it were in GPa and positive under compression" in capsys.readouterr().out
    assert main([*command, "--config", str(config), "--stress-unit", "GPa"]) == 2
    assert "--config says what labels are called and mean; --stress-unit too" in capsys.readouterr().err
