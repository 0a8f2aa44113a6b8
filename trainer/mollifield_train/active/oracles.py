"""Reference calculations: any ASE calculator, in parallel, with retries, never fatal for a run.

The loop knows ``concurrent.futures`` only. A label is written to a spool folder by the worker that
computed it before anybody is told, so that a label is safe from the moment it exists, even if the
loop is killed before it has written it to the store.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from mollifield_train.active.config import OracleConfig
from mollifield_train.durable import replacing
from mollifield_train.active.processes import exit_with_parent, single_threaded_children
from mollifield_train.active.store import CHOSEN, Label, Store, StoredFrame, content_key

_CALCULATORS = {
    "tblite": "tblite.ase.TBLite",
    "emt": "ase.calculators.emt.EMT",
    "lj": "ase.calculators.lj.LennardJones",
}


@dataclass(frozen=True)
class Outcome:
    """A label, or the error of the last attempt; ``calls`` counts the attempts."""

    label: Label | None
    error: str
    calls: int


def make_calculator(config: OracleConfig) -> Calculator:
    """Build the ASE calculator that a config names.

    Raises:
        ValueError: no such module or class.
    """
    name = config.calculator if config.kind == "ase" else _CALCULATORS[config.kind]
    module_name, _, class_name = name.rpartition(".")
    try:
        calculator = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"oracle: cannot import the calculator {name!r}: {error}") from error
    arguments = dict(config.arguments)
    if config.kind == "tblite":
        arguments = {"method": config.method, "verbosity": 0} | arguments
    return calculator(**arguments)


def compute_label(config: OracleConfig, atoms: Atoms) -> Label:
    """One reference calculation.

    Raises:
        ValueError: the calculator returned something that is not finite.
        Exception: whatever the calculator raises.
    """
    atoms = atoms.copy()
    atoms.calc = make_calculator(config)
    stress = None
    with _own_folder():
        energy, forces = float(atoms.get_potential_energy()), np.array(atoms.get_forces())
        if atoms.pbc.all():
            with contextlib.suppress(PropertyNotImplementedError):
                stress = np.array(atoms.get_stress())
    numbers = [energy, *forces.ravel(), *(stress if stress is not None else [])]
    if not np.isfinite(numbers).all():
        raise ValueError("the oracle returned numbers that are not finite")
    return Label(energy, forces, stress)


def _work(config: OracleConfig, atoms: Atoms, spool: Path) -> Outcome:
    """Run in a worker: try, try again, and save the label before returning it."""
    error = ""
    for attempt in range(1, config.retries + 2):
        try:
            with _time_limit(config.timeout):
                label = compute_label(config, atoms)
                _save(spool, atoms, label, attempt)
                return Outcome(label, "", attempt)
        except Exception as problem:  # noqa: BLE001  # a calculator may raise anything
            error = f"{type(problem).__name__}: {problem}"
    return Outcome(None, error, config.retries + 1)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """End this worker if the block takes longer.

    A calculation that hangs in compiled code cannot be interrupted, only ended with its process;
    the loop sees a broken pool. Executors that run tasks in threads have no limit.
    """
    if not _owns_process():
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


@contextlib.contextmanager
def _own_folder() -> Iterator[None]:
    """Work in an empty folder: calculators that write files use the same names for every frame."""
    if not _owns_process():
        yield
        return
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _owns_process() -> bool:
    """Whether this is a worker process of ours, not a thread among others."""
    in_worker = multiprocessing.parent_process() is not None
    return in_worker and threading.current_thread() is threading.main_thread()


def _spool_file(spool: Path, content: str) -> Path:
    return spool / f"{content}.json"


def _save(spool: Path, atoms: Atoms, label: Label, calls: int) -> None:
    content = {
        "energy": label.energy,
        "forces": label.forces.tolist(),
        "stress": None if label.stress is None else label.stress.tolist(),
        "calls": calls,
    }
    with replacing(_spool_file(spool, content_key(atoms))) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def _load(path: Path) -> tuple[Label, int]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    stress = None if content["stress"] is None else np.array(content["stress"])
    return Label(content["energy"], np.array(content["forces"]), stress), content["calls"]


def local_processes(n_workers: int) -> Executor:
    """Fresh processes on this machine, each with one thread, that die with the loop."""
    return ProcessPoolExecutor(
        n_workers, mp_context=multiprocessing.get_context("spawn"), initializer=exit_with_parent
    )


def label_chosen(
    store: Store,
    config: OracleConfig,
    spool: Path,
    arm: str,
    executor: Callable[[int], Executor] = local_processes,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Label every chosen frame of ``arm``; frames that fail are marked and the run goes on.

    Args:
        store: where labels and failures go, one by one as they arrive.
        config: the oracle.
        spool: folder for labels on their way to the store.
        arm: whose frames.
        executor: makes a ``concurrent.futures.Executor`` with the number of workers given.
        report: is told about every failure.
    """
    spool = spool.resolve()  # workers change their directory
    chosen = store.frames(arm=arm, status=CHOSEN)
    todo = [frame for frame in chosen if not _already_labelled(store, spool, frame)]

    def record(frame: StoredFrame, outcome: Outcome) -> None:
        if outcome.label is None:
            report(f"no label for frame {frame.id}: {outcome.error}")
            store.record_failure(frame.id, outcome.error, outcome.calls)
        else:
            store.record_label(frame.id, outcome.label, outcome.calls)
            _spool_file(spool, frame.columns["content"]).unlink(missing_ok=True)

    with single_threaded_children():
        suspects = _label_together(config, spool, todo, executor, record)
        for frame in suspects:
            if not _already_labelled(store, spool, frame):
                record(frame, _label_alone(config, spool, frame, executor))


def _already_labelled(store: Store, spool: Path, frame: StoredFrame) -> bool:
    """Take a label from the spool of a killed run, or from another arm with the same geometry."""
    content = frame.columns["content"]
    path = _spool_file(spool, content)
    try:
        spooled = _load(path)
    except FileNotFoundError:  # perhaps because the other arm has just taken it into the store
        found = store.find_label(content)
    else:
        store.record_label(frame.id, *spooled)
        path.unlink(missing_ok=True)
        return True
    if found is None:
        return False
    # Counted here too: an arm alone would have paid for it.
    store.record_label(frame.id, *found)
    return True


def _label_together(
    config: OracleConfig,
    spool: Path,
    frames: Sequence[StoredFrame],
    executor: Callable[[int], Executor],
    record: Callable[[StoredFrame, Outcome], None],
) -> list[StoredFrame]:
    """Label in parallel; return the frames left over when a worker died and broke the pool."""
    if not frames:
        return []
    left = {frame.id: frame for frame in frames}
    with executor(min(config.workers, len(frames))) as pool:
        futures = {}
        with contextlib.suppress(BrokenExecutor):
            for frame in frames:
                futures[pool.submit(_work, config, frame.atoms, spool)] = frame
        for future in as_completed(futures):
            with contextlib.suppress(BrokenExecutor):
                record(futures[future], future.result())
                del left[futures[future].id]
    return list(left.values())


def _label_alone(
    config: OracleConfig, spool: Path, frame: StoredFrame, executor: Callable[[int], Executor]
) -> Outcome:
    """Label one frame in a pool of its own, so that a dying worker is this frame's fault."""
    for _ in range(config.retries + 1):
        with executor(1) as pool, contextlib.suppress(BrokenExecutor):
            return pool.submit(_work, config, frame.atoms, spool).result()
    calls = config.retries + 1
    return Outcome(None, f"the worker died (or took more than {config.timeout} s)", calls)
