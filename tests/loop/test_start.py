"""What happens to the starting frames: labels read, checked, not paid for twice; frames shaken where they are alike."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from mollifield_train.active.config import GuardConfig, LoopConfig, StartConfig
from mollifield_train.active.guard import Guard
from mollifield_train.active.label import labelling
from mollifield_train.active.start import perturbed_frames, prepare_start, read_start, why_perturb
from mollifield_train.active.store import LABELLED, PERTURBED, Store


class OtherEMT(EMT):
    """Another level of theory: `factor` times EMT, `offset` (eV) an atom."""

    implemented_properties = EMT.implemented_properties

    def __init__(self, factor: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.factor, self.offset = factor, offset

    def calculate(self, *arguments: Any, **more: Any) -> None:
        super().calculate(*arguments, **more)
        self.results = {key: self.factor * value for key, value in self.results.items()}
        self.results["energy"] += self.offset * len(self.atoms)


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "oracle_workers", lambda config, folder: ThreadPoolExecutor)


def rattled(seed: int, calculator: Calculator | None = None) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.08, seed=seed)
    atoms.calc = calculator or EMT()
    atoms.get_stress()
    return atoms


def relaxed() -> Atoms:
    atoms = molecule("H2O")
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=1e-3)
    return atoms


def config(directory: Path, frames: list[Atoms] | Atoms, **changes: Any) -> LoopConfig:
    ase.io.write(directory / "frames.extxyz", frames)
    content = {"directory": directory, "frames": directory / "frames.extxyz", "oracle": {"kind": "emt"}}
    return LoopConfig.model_validate(content | changes)


def prepare(settings: LoopConfig) -> tuple[Store, list[str]]:
    lines: list[str] = []
    store = Store(settings.directory / "frames.db")
    (settings.directory / "labels").mkdir(exist_ok=True)
    prepare_start(settings, store, settings.directory / "labels", lines.append)
    assert not list((settings.directory / "labels").iterdir())
    return store, lines


def with_reference_keys(atoms: Atoms) -> Atoms:
    """Labels as files for training have them, and ASE's names nowhere."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info["REF_energy"] = atoms.get_potential_energy()
    bare.arrays["REF_forces"] = atoms.get_forces()
    bare.info["REF_stress"] = atoms.get_stress()
    return bare


def test_labels_under_reference_keys_are_not_paid_for(tmp_path: Path) -> None:
    frames = [rattled(seed) for seed in range(3)]
    settings = config(tmp_path, [with_reference_keys(atoms) for atoms in frames], check_labels=False)
    store, _ = prepare(settings)
    assert store.oracle_calls("given", 0) == 0
    for row, atoms in zip(store.frames(status=LABELLED), frames, strict=True):
        np.testing.assert_allclose(row.atoms.get_forces(), atoms.get_forces(), atol=1e-7)
        np.testing.assert_allclose(row.atoms.get_stress(), atoms.get_stress(), atol=1e-7)


def test_labels_under_a_name_of_ones_own(tmp_path: Path) -> None:
    atoms = with_reference_keys(rattled(0))
    other = rattled(1)
    for old, new in (("REF_energy", "pbe_energy"), ("REF_stress", "pbe_stress")):
        atoms.info[new] = atoms.info.pop(old)
    atoms.arrays["pbe_forces"] = atoms.arrays.pop("REF_forces")
    bare = Atoms(other.numbers, other.positions, cell=other.cell, pbc=True)
    keys = {f"{label}_key": f"pbe_{label}" for label in ("energy", "forces", "stress")}
    store, _ = prepare(config(tmp_path, [atoms, bare], check_labels=False, **keys))
    assert [row.columns["calls"] for row in store.frames(arm="given")] == [0, 1]


def test_a_name_that_no_frame_has(tmp_path: Path) -> None:
    bare = Atoms(rattled(0).numbers, rattled(0).positions, cell=rattled(0).cell, pbc=True)
    with pytest.raises(ValueError, match=r"frames\.extxyz: no frame has .*energy_key"):
        read_start(config(tmp_path, bare, energy_key="pbe_energy"))
    with pytest.raises(ValueError, match="no frame has 'pbe_energy'"):
        read_start(config(tmp_path, rattled(0), energy_key="pbe_energy"))


def test_frames_without_forces_are_labelled(tmp_path: Path) -> None:
    atoms = rattled(0)
    atoms.calc.results.pop("forces")
    energy_only = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    energy_only.info["energy"] = atoms.get_potential_energy()
    store, _ = prepare(config(tmp_path, [energy_only, rattled(1)], check_labels=False))
    assert [row.columns["calls"] for row in store.frames(arm="given")] == [1, 0]


def test_one_given_label_is_computed_again_and_counted_once(tmp_path: Path) -> None:
    settings = config(tmp_path, [rattled(seed) for seed in range(3)])
    store, _ = prepare(settings)
    assert store.oracle_calls("given", 0) == 1
    store, _ = prepare(settings)  # a restart
    assert store.oracle_calls("given", 0) == 1


@pytest.mark.parametrize("other", [{"offset": 0.01}, {"factor": 1.2}])
def test_labels_of_another_method_are_refused(tmp_path: Path, other: dict) -> None:
    frames = [rattled(seed, OtherEMT(**other)) for seed in range(3)]
    worst = max(range(3), key=lambda k: np.abs(frames[k].get_forces()).max())
    energy = frames[worst].get_potential_energy()
    computed = rattled(worst).get_potential_energy()
    settings = config(tmp_path, frames)
    message = (
        rf"frames\.extxyz: frame {worst} has an energy of {energy:.6f} eV, the oracle \(emt\) gives "
        rf"{computed:.6f} eV"
    )
    with pytest.raises(ValueError, match=message):
        prepare(settings)
    store, _ = prepare(settings.model_copy(update={"check_labels": False}))
    assert len(store.frames(status=LABELLED)) == 3


def test_an_oracle_that_fails_on_a_given_frame_says_so_at_once(tmp_path: Path) -> None:
    oracle = {
        "kind": "ase",
        "calculator": f"{__package__}.broken_calculators.FailsOnCopper",
        "arguments": {"how": "raise"},
        "retries": 0,
    }
    with pytest.raises(ValueError, match="failed on it: RuntimeError: no convergence"):
        prepare(config(tmp_path, [rattled(0)], oracle=oracle))


def test_mixed_names_are_refused(tmp_path: Path) -> None:
    mixed = rattled(1)
    mixed.info["REF_energy"] = -1.0
    with pytest.raises(ValueError, match="REF_energy"):
        read_start(config(tmp_path, [with_reference_keys(rattled(0)), mixed]))


def test_one_relaxed_frame_is_shaken(tmp_path: Path) -> None:
    """Alone it gave a scale of forces of 0.0055 eV/Å, and a committee 120 times too sure."""
    store, lines = prepare(config(tmp_path, relaxed()))
    frames = store.frames(arm="given", status=LABELLED)
    assert [row.columns["source"] for row in frames] == ["given"] + [PERTURBED] * 10
    assert lines == ["there is one starting frame only: 10 shaken copies are labelled too"]
    assert store.oracle_calls("given", 0) == 11  # the check of the given label included
    rms = [np.sqrt(np.mean(row.atoms.get_forces() ** 2)) for row in frames]
    assert rms[0] < 1e-3 and min(rms[1:]) > 0.1
    again, lines = prepare(config(tmp_path, relaxed()))
    assert len(again.frames()) == 11 and lines == []


def test_what_counts_as_a_start_without_spread() -> None:
    auto = StartConfig()
    assert "one starting frame" in str(why_perturb([rattled(0)], auto))
    assert why_perturb([rattled(0), rattled(1)], auto) is None
    alike = [rattled(0), rattled(0)]
    alike[1].positions += 1e-4
    alike[1].get_forces()
    assert "as good as equal" in str(why_perturb(alike, auto))
    volumes = []
    for scale in (0.97, 1.0, 1.03):  # an equation of state: no forces by symmetry
        volumes.append(bulk("Cu", cubic=True))
        volumes[-1].set_cell(volumes[-1].cell * scale, scale_atoms=True)
        volumes[-1].calc = EMT()
    assert "as good as equal" in str(why_perturb(volumes, auto))
    assert why_perturb(volumes, StartConfig(perturb=False)) is None
    assert why_perturb([rattled(0), rattled(1)], StartConfig(perturb=True)) is not None


def test_shaking_grows_with_temperature_and_overlaps_nothing() -> None:
    atoms = molecule("CH3CH2OH")
    guard = Guard(GuardConfig(), [atoms])

    def width(temperature: float) -> float:
        shaken = perturbed_frames([atoms], StartConfig(n_frames=40), temperature, guard, seed=0)
        assert all(guard(frame) is None for frame in shaken)
        return float(np.std([frame.positions - atoms.positions for frame in shaken]))

    # Factors from 0.5 to 1.5 have a root mean square of 1.04; 1080 numbers, so 2% of error.
    assert width(300.0) == pytest.approx(0.05 * 1.04, rel=0.08)
    assert width(75.0) == pytest.approx(width(300.0) / 2.0, rel=1e-6)
    assert width(5000.0) < 0.3
