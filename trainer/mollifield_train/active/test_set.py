"""Independent test frames: from a file, or by the oracle's own dynamics, one stored frame at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from ase import Atoms

from ..oracle.dynamics import oracle_stretch, thermalised
from ..oracle.execution import oracle_workers, result_or_reason
from ..processes import single_threaded_children
from .config import LoopConfig
from .databases import Place
from .duplicates import Geometries
from .label.labelling import label_chosen
from .label.spool import spool_file
from .start import check_labels, is_isolated_atom, read_loop_frames
from .store import FAILED, GIVEN, LABELLED, TEST_SET, Store, content_key
from .systems import systems_of

Say = Callable[[str], None]
_STREAM = 600
"""Keeps this dynamics' random numbers apart from the explorers'."""
_PROGRESS = 10
"""Lines of progress while the frames are made."""


def make_test_set(config: LoopConfig, database: Place, spool: Path, say: Say) -> None:
    """Put the test frames into the store, or those of them that are missing.

    Raises ValueError: the oracle fails, or the file's frames are not fit for it.
    """
    store = Store(database)
    if config.test_set.frames is None:
        _run_dynamics(config, store, spool.parent, say)
    else:
        _take_from_file(config.test_set.frames, config, store, spool, say)


def _take_from_file(path: Path, config: LoopConfig, store: Store, spool: Path, say: Say) -> None:
    frames = read_loop_frames(path, config)
    _refuse_known(frames, path, config, store)
    stored = store.frames(arm=TEST_SET)
    if stored and {content_key(atoms) for atoms in frames} != {frame.columns["content"] for frame in stored}:
        raise ValueError(
            f"{path} has changed since the run was started with it; bring the old frames back, choose another "
            "directory, or start again with --fresh"
        )
    if config.check_labels and not stored:
        check_labels(frames, path, config, spool)
    for system, own in _by_system(frames, config, store).items():
        store.add_given(own, source=TEST_SET, arm=TEST_SET, system=system)
    for frame in store.frames(arm=TEST_SET, status=LABELLED):  # the label that was computed again
        spool_file(spool, frame.columns["content"]).unlink(missing_ok=True)
    label_chosen(store, config.oracle, spool, TEST_SET, report=say)
    n_labelled, n_failed = (len(store.frames(arm=TEST_SET, status=status)) for status in (LABELLED, FAILED))
    if n_labelled == 0:
        raise ValueError(f"{path}: none of {len(frames)} test frames could be labelled")
    besides = f"; {n_failed} could not be labelled" if n_failed else ""
    say(f"test set: {n_labelled} frames of {path}{besides}")


def _by_system(frames: list[Atoms], config: LoopConfig, store: Store) -> dict[str, list[Atoms]]:
    """Frames go with the system that has starting frames of the same atoms; those of none, or several, with no name."""
    names: dict[str, set[str]] = defaultdict(set)
    for frame in store.frames(arm=GIVEN):
        names[frame.atoms.get_chemical_formula()].add(frame.system)
    found = defaultdict(list)
    for atoms in frames:
        of = names[atoms.get_chemical_formula()]
        found[next(iter(of)) if len(of) == 1 else ""].append(atoms)
    return found


def _refuse_known(frames: list[Atoms], path: Path, config: LoopConfig, store: Store) -> None:
    """Raise ValueError for a test frame that models learn from."""
    files = {name: system.frames for name, system in systems_of(config).items()}
    given = Geometries(
        (f"frame {frame.columns['step']} of {files[frame.system]}", frame.atoms)
        for frame in store.frames(arm=GIVEN, source=GIVEN)
    )
    for index, atoms in enumerate(frames):
        twin = given.find(atoms)
        if twin is not None:
            raise ValueError(f"{path}: frame {index} is {twin}: a test frame must not be trained on")


def _run_dynamics(config: LoopConfig, store: Store, folder: Path, say: Say) -> None:
    """Continue the oracle's dynamics until the store holds all test frames, those of several systems by turns.

    Each frame is stored with its momenta, and each stretch between two frames has its own random
    stream, so that an interrupted dynamics continues exactly and repeats no stored frame.
    """
    done = store.frames(arm=TEST_SET)
    n_frames, temperature = config.test_set.n_frames, config.test_set.temperature
    if len(done) >= n_frames:
        return
    systems = list(systems_of(config))
    last = {frame.system: frame.atoms for frame in done}
    say(f"test set: {n_frames} frames at {temperature:g} K by the oracle")
    with single_threaded_children(), oracle_workers(config.oracle, folder)(1) as pool:
        for index in range(len(done), n_frames):
            system = systems[index % len(systems)]
            n_steps = config.test_set.every
            if system not in last:
                last[system] = _first(config, store, system)
                n_steps += config.test_set.n_equilibration
            last[system] = _next_frame(pool, last[system], n_steps, index, config, say)
            store.add_test_frame(last[system], index, system)
            if index + 1 == n_frames or (index + 1) % -(-n_frames // _PROGRESS) == 0:
                say(f"test set: {index + 1} of {n_frames} frames")


def _first(config: LoopConfig, store: Store, system: str) -> Atoms:
    """A starting frame with velocities."""
    labelled = [frame.atoms for frame in store.frames(arm=GIVEN, status=LABELLED) if frame.system == system]
    given = next(atoms for atoms in labelled if not is_isolated_atom(atoms))
    first = thermalised(given, config.test_set.temperature, np.random.default_rng([config.seed, _STREAM]))
    first.calc = given.calc
    return first


def _next_frame(pool: Executor, last: Atoms, n_steps: int, index: int, config: LoopConfig, say: Say) -> Atoms:
    """The labelled frame one stretch after `last`, by another path where the oracle fails."""
    settings = config.test_set
    for attempt in range(config.oracle.retries + 1):
        seed = [config.seed, _STREAM, index, attempt]
        bath = settings.temperature, settings.timestep, settings.damping
        stretch = pool.submit(oracle_stretch, last, n_steps, config.oracle, *bath, seed)
        frame = result_or_reason(stretch)
        if isinstance(frame, Atoms):
            return frame
        say(f"test set: frame {index + 1}, attempt {attempt + 1}: {frame}")
    raise ValueError(f"test set: no frame {index + 1}, the oracle failed: {frame}")
