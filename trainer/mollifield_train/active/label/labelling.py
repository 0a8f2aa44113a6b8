"""Frames to labels, in parallel, with retries, never fatal for a run.

A label is written to a spool folder by the worker that
computed it before anybody is told, so that a label is safe from the moment it exists, even if the
loop is killed before it has written it to the store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

from ase import Atoms

from ...oracle.calculators import OracleConfig
from ...oracle.execution import MakeExecutor, oracle_workers, result_or_reason
from ...oracle.labels import Label, compute_label
from ...processes import single_threaded_children
from ..store import CHOSEN, Store, StoredFrame, content_key
from .spool import Claims, load, save, spool_file

NET_FORCE = 0.1
"""eV/Å an atom that forces of a label may add up to without a word."""


def _attempt(config: OracleConfig, atoms: Atoms, spool: Path, number: int) -> Label:
    """Run in a worker: save the label before returning it. `number` counts the attempts, from 1."""
    label = compute_label(config, atoms, number)
    # Where it cannot be saved, the loop still has it, and puts it into the store or ends there.
    with contextlib.suppress(OSError):
        save(spool, content_key(atoms), label, number)
    return label


def label_chosen(
    store: Store,
    config: OracleConfig,
    spool: Path,
    arm: str,
    executor: MakeExecutor | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Label every chosen frame of `arm`; frames that fail are marked and the run goes on.

    `store`: where labels and failures go, one by one as they arrive. `config`: the oracle. `spool`: folder for labels
    on their way to the store. `arm`: whose frames. `executor`: makes a `concurrent.futures.Executor` with the number
    of workers given; none: `oracle_workers` with folders beside `spool`. `report`: is told about every failure. Raises
    OSError: the disk is full. Nothing is marked as failed for that.
    """
    spool = spool.resolve()  # workers change their directory
    left = store.frames(arm=arm, status=CHOSEN)
    while left:
        with Claims(spool) as claims:
            ours = claims.take([frame.columns["content"] for frame in left])
            frames = [frame for frame in left if frame.columns["content"] in ours]
            todo = [frame for frame in frames if not _already_labelled(store, spool, frame)]
            # Closed at once, with its workers, if something here is interrupted.
            with contextlib.closing(_labels(config, todo, spool, executor)) as labels:
                for frame, result, calls in labels:
                    if isinstance(result, Label):
                        if result.net_force > NET_FORCE:
                            report(
                                f"the label of frame {frame.id} has forces that add up to {result.net_force:.2f} eV/Å "
                                "an atom: not converged, or a field from outside"
                            )
                        store.record_label(frame.id, result, calls)
                        spool_file(spool, frame.columns["content"]).unlink(missing_ok=True)
                    else:
                        report(f"no label for frame {frame.id}: {result}")
                        store.record_failure(frame.id, result, calls)
        # Another arm has the rest computed; it is there, or has failed, when the claims are free.
        left = [frame for frame in left if frame.columns["content"] not in ours]


def label_again(
    config: OracleConfig, frame: StoredFrame, spool: Path, executor: MakeExecutor | None = None
) -> tuple[Label | str, int]:
    """The oracle's label (or why there is none) of a frame that has one already, and the calls that it took."""
    path = spool_file(spool.resolve(), frame.columns["content"])
    if path.exists():
        return load(path)
    ((_, result, calls),) = _labels(config, [frame], spool.resolve(), executor)
    return result, calls


def _labels(
    config: OracleConfig, frames: Sequence[StoredFrame], spool: Path, executor: MakeExecutor | None
) -> Generator[tuple[StoredFrame, Label | str, int], None, None]:
    """Each frame with its label, or the reason of the last failure, and the number of calls, as they come."""
    if not frames:
        return
    executor = executor or oracle_workers(config, spool.parent)
    with single_threaded_children(), executor(min(config.workers, len(frames))) as pool:
        running = {pool.submit(_attempt, config, frame.atoms, spool, 1): (frame, 1) for frame in frames}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                frame, number = running.pop(future)
                result = result_or_reason(future)
                if isinstance(result, str) and number <= config.retries:
                    again = pool.submit(_attempt, config, frame.atoms, spool, number + 1)
                    running[again] = frame, number + 1
                else:
                    yield frame, result, number


def _already_labelled(store: Store, spool: Path, frame: StoredFrame) -> bool:
    """Take a label from the spool of a killed run, or from another arm with the same geometry."""
    content = frame.columns["content"]
    path = spool_file(spool, content)
    try:
        spooled = load(path)
    except FileNotFoundError:  # perhaps because another arm has just taken it into the store
        found = store.find_label(content)
    else:
        store.record_label(frame.id, *spooled)
        path.unlink(missing_ok=True)
        return True
    if found is None:
        return False
    # Counted here too: an arm alone would have paid for it.
    store.record_label(frame.id, *found, shared=True)
    return True
