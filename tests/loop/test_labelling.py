"""Labels come back, failures are recorded, and neither ends the run."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mollifield_train.active.label import labelling
from mollifield_train.active.label import spool as spool_module
from mollifield_train.active.label.labelling import label_chosen
from mollifield_train.active.label.spool import Claims
from mollifield_train.active.store import Candidate, Store, content_key
from mollifield_train.oracle import make_calculator
from mollifield_train.oracle.calculators import AnyAseConfig, EmtConfig, OracleConfig, TbliteConfig
from mollifield_train.oracle.labels import compute_label

HERE = __package__


def crystal(symbol: str, seed: int) -> Atoms:
    atoms = bulk(symbol, cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def label_all(tmp_path: Path, frames: list[Atoms], config: OracleConfig) -> tuple[Store, list[str]]:
    store, spool, lines = Store(tmp_path / "frames.db"), tmp_path / "labels", []
    spool.mkdir(exist_ok=True)
    store.add_given(frames)
    label_chosen(store, config, spool, "given", report=lines.append)
    assert not list(spool.iterdir())
    return store, lines


def test_parallel_labels_equal_direct_ones(tmp_path: Path) -> None:
    frames = [crystal("Al", seed) for seed in range(4)]
    store, lines = label_all(tmp_path, frames, EmtConfig(workers=2))
    assert not lines
    for atoms, row in zip(frames, store.training_frames("given", 0), strict=True):
        atoms.calc = EMT()
        assert row.atoms.get_potential_energy() == atoms.get_potential_energy()
        np.testing.assert_array_equal(row.atoms.get_forces(), atoms.get_forces())
        np.testing.assert_array_equal(row.atoms.get_stress(), atoms.get_stress())


def test_retry_until_it_converges(tmp_path: Path) -> None:
    arguments = {"log": str(tmp_path / "log")}
    name = f"{HERE}.broken_calculators.FailsTwice"
    config = AnyAseConfig(calculator=name, arguments=arguments, retries=2)
    store, _ = label_all(tmp_path, [crystal("Al", 0)], config)
    (row,) = store.training_frames("given", 0)
    assert row.columns["calls"] == 3


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "RuntimeError: no convergence"),
        ("nan", "not finite"),
        ("segfault", "the worker died (SIGSEGV)"),
        ("hang", "ended after 1 s, the timeout"),
    ],
)
def test_a_bad_frame_costs_no_other(tmp_path: Path, how: str, reason: str) -> None:
    frames = [crystal("Al", 0), crystal("Cu", 1), crystal("Al", 2)]
    name = f"{HERE}.broken_calculators.FailsOnCopper"
    config = AnyAseConfig(calculator=name, arguments={"how": how}, retries=1, timeout=1.0)
    store, lines = label_all(tmp_path, frames, config)
    assert [row.columns["status"] for row in store.frames()] == ["labelled", "failed", "labelled"]
    (failed,) = store.frames(status="failed")
    assert reason in failed.columns["reason"]
    assert failed.columns["calls"] == 2
    assert len(lines) == 1


def test_calculators_that_write_files_do_not_meet(tmp_path: Path) -> None:
    name = f"{HERE}.broken_calculators.WritesFiles"
    config = AnyAseConfig(calculator=name, workers=2, retries=0)
    frames = [crystal("Al", seed) for seed in range(4)]
    store, lines = label_all(tmp_path, frames, config)
    assert not lines
    assert len(store.training_frames("given", 0)) == 4


def test_unknown_calculator_is_named() -> None:
    with pytest.raises(ValueError, match=r"ase\.calculators\.emt\.Nothing"):
        make_calculator(AnyAseConfig(calculator="ase.calculators.emt.Nothing"))


def test_calculator_goes_with_kind_ase_only() -> None:
    with pytest.raises(ValueError, match="'calculator' goes with kind 'ase'"):
        EmtConfig(calculator="ase.calculators.emt.EMT")


def test_tblite_gives_energy_and_forces() -> None:
    pytest.importorskip("tblite")
    water = Atoms("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    label = compute_label(TbliteConfig(), water)
    # GFN2-xTB of water near equilibrium; Bannwarth et al., JCTC 15, 1652 (2019): -5.07 hartree.
    assert label.energy == pytest.approx(-5.07 * 27.2114, abs=0.3)
    assert label.stress is None
    assert np.abs(label.forces.sum(axis=0)).max() < 1e-6


def test_a_spooled_label_that_the_other_arm_takes_first(tmp_path: Path, monkeypatch) -> None:
    """Both arms of a run that was killed find it; the slower one gets it from the store."""
    atoms, config, spool = crystal("Al", 0), EmtConfig(), tmp_path / "labels"
    store = Store(tmp_path / "frames.db")
    store.add_given([atoms])
    (frame,) = store.frames(arm="given", status=labelling.CHOSEN)
    spool_module.save(spool, content_key(atoms), compute_label(config, atoms), calls=1)
    load = labelling.load

    def other_arm_was_faster(path: Path):
        store.record_label(frame.id, *load(path))
        path.unlink()
        return load(path)

    monkeypatch.setattr(labelling, "load", other_arm_was_faster)
    assert labelling._already_labelled(store, spool, frame)
    assert store.training_frames("given", 0)[0].columns["calls"] == 1


class SlowEMT(EMT):
    """Leaves time for the other arm to ask for the same."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = log

    def calculate(self, *arguments: Any, **more: Any) -> None:
        with Path(self.log).open("a") as file:
            file.write("call\n")
        time.sleep(0.2)
        super().calculate(*arguments, **more)


def test_arms_never_compute_one_geometry_twice(tmp_path: Path) -> None:
    """Both ask at the same time, in different order; each gets all labels, and each frame is computed once."""
    config = AnyAseConfig(calculator=f"{__name__}.SlowEMT", arguments={"log": str(tmp_path / "log")}, retries=0)
    frames = [crystal("Al", seed) for seed in range(4)]
    spool = tmp_path / "labels"
    spool.mkdir()
    Store(tmp_path / "frames.db")

    def label(arm: str, order: list[Atoms]) -> None:
        store = Store(tmp_path / "frames.db")
        store.replace_candidates(arm, 1, 0, [Candidate(a, k, 0.1, "regular") for k, a in enumerate(order)])
        store.choose([frame.id for frame in store.frames(arm=arm)])
        both_ready.wait()
        label_chosen(store, config, spool, arm, executor=ThreadPoolExecutor)

    both_ready = threading.Barrier(2)
    with ThreadPoolExecutor(2) as arms:
        first = arms.submit(label, "active", frames)
        second = arms.submit(label, "random", frames[::-1])
        first.result(timeout=60)
        second.result(timeout=60)
    rows = Store(tmp_path / "frames.db").frames(status="labelled")
    assert len(rows) == 8
    assert len((tmp_path / "log").read_text().split()) == 4
    assert sum(row.columns["shared"] for row in rows) == 4
    assert not list(spool.iterdir())


def test_a_killed_process_holds_no_claim(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from mollifield_train.active.label.spool import Claims; "
        "assert Claims(Path(sys.argv[1])).take(['k1']); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / "k1.claim").exists()
    with Claims(tmp_path) as claims, Claims(tmp_path) as others:
        assert claims.take(["k1", "k2"]) == {"k1", "k2"}
        assert others.take(["k2", "k3"]) == {"k3"}
    assert not list(tmp_path.iterdir())
