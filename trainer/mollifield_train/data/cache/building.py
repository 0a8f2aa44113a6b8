"""Shards that are missing, made in worker processes.

A shard is a pure function of the file and of how it is read: whoever was killed left whole shards, which stay. One
process at a time builds in a cache; others wait, and find what it has made.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import ase

from ...clusters.workers import WorkerPool
from ...durable import claimed, one_after_another, read_json, remove_leftovers, write_json
from ...processes import single_threaded_children
from ...progress import counted
from ..files import EXTXYZ, format_of, iterate_atoms, iterate_block
from ..frames import Reading, read_frame
from ..keys import chosen_keys, presence
from .blocks import Block, blocks_of
from .shard import open_shard, write_shard
from .source import Source

COMPLETE = "complete.json"
"""In the folder of a file: how many shards there are."""
LOCK = "lock"
BYTES = 2_000_000
"""Of a file, that take about as long as a shard of small molecules."""
WORTH = 8
"""Shards for which a worker process is started: to import what it needs takes it some seconds."""


@dataclass(frozen=True)
class Job:
    """A file whose shards are to be made; all that a worker has to know."""

    source: Source
    folder: Path
    directory: Path
    """Where relative paths begin."""

    def shard(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{number:06d}.shard"


@dataclass(frozen=True)
class _Task:
    job: Job
    number: int
    """Of the shard, in the file."""
    block: Block | None
    """None: the whole file, shard after shard."""

    def run(self) -> int:
        """How many shards there are now."""
        os.chdir(self.job.directory)
        source = self.job.source
        if self.block is None:
            return _make_all(self.job, iterate_atoms(source.path, source.origin))
        with open(source.path, "rb") as file:
            file.seek(self.block.start)
            content = file.read(self.block.end - self.block.start)
        _make(self.job, self.number, list(iterate_block(source.path, content, self.block.first)), self.block.first)
        return 1


def require_shards(sources: Sequence[Source], cache: Path, workers: int, progress: bool) -> list[list[Path]]:
    """Paths of the shards of each file; those that are missing or damaged are made.

    Raises ValueError for a file or a frame that cannot be used, OSError where there is no room, and ChildProcessError
    where a worker was killed.
    """
    found = {source.key: _complete(cache / source.key) for source in sources}
    absent = {source.key: source for source in sources if found[source.key] is None}
    if absent:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache, progress):
            remove_leftovers(cache)
            missing = [source for key, source in absent.items() if _complete(cache / key) is None]
            _build(missing, cache.absolute(), workers, progress)
        found |= {key: _complete(cache / key) for key in absent}
    paths = [found[source.key] for source in sources]
    assert None not in paths
    return [shards for shards in paths if shards is not None]


@contextlib.contextmanager
def _alone(cache: Path, progress: bool) -> Iterator[None]:
    """While no other process builds here."""
    with claimed(cache / LOCK) as mine:
        if mine:
            yield
            return
    if progress:
        print(f"data: waiting for another process that fills {cache}", file=sys.stderr)
    with one_after_another(cache / LOCK):
        yield


def _complete(folder: Path) -> list[Path] | None:
    """The shards of a file, where they are all there and whole."""
    try:
        n_shards = read_json(folder / COMPLETE)["n_shards"]
    except (FileNotFoundError, ValueError):
        return None
    shards = [folder / f"{number:06d}.shard" for number in range(n_shards)]
    return shards if all(open_shard(path) for path in shards) else None


def _build(sources: Sequence[Source], cache: Path, workers: int, progress: bool) -> None:
    jobs = [Job(source, cache / source.key, Path.cwd()) for source in sources]
    tasks = [task for job in jobs for task in _tasks(job, progress)]
    n_shards = dict.fromkeys((job.source.key for job in jobs), 0)
    missing = [task for task in tasks if task.block is None or open_shard(task.job.shard(task.number)) is None]
    whole = sum(max(1, task.job.source.state["size"] // BYTES) for task in missing if task.block is None)
    n_workers = min(workers, len(missing), (whole + sum(task.block is not None for task in missing)) // WORTH)
    run = _run_here if n_workers < 2 else _run_on_workers
    for task, n in counted(run(missing, n_workers, cache), "frames and neighbours", "shard", len(missing), progress):
        if task.block is None:
            n_shards[task.job.source.key] = n
    for job in jobs:
        own = sum(task.job is job and task.block is not None for task in tasks) or n_shards[job.source.key]
        write_json(job.folder / COMPLETE, {"n_shards": own, "of": str(job.source.path.absolute())})


def _tasks(job: Job, progress: bool) -> list[_Task]:
    job.folder.mkdir(parents=True, exist_ok=True)
    source = job.source
    blocks = (
        blocks_of(source.path, source.limits, progress) if format_of(source.path, source.origin) == EXTXYZ else None
    )
    return [_Task(job, 0, None)] if blocks is None else [_Task(job, k, block) for k, block in enumerate(blocks)]


def _run_here(tasks: Sequence[_Task], n_workers: int, cache: Path) -> Iterator[tuple[_Task, int]]:
    for task in tasks:
        yield task, task.run()


def _run_on_workers(tasks: Sequence[_Task], n_workers: int, cache: Path) -> Iterator[tuple[_Task, int]]:
    with single_threaded_children(), WorkerPool(n_workers, cache, None) as pool:
        futures = {pool.submit(task.run): task for task in tasks}
        for future in as_completed(futures):
            if future.exception() is not None:
                _raise_first(futures)
            yield futures[future], future.result()


def _raise_first(futures: Iterable[Future[int]]) -> None:
    """Of the errors of tasks that have begun, that of the first in the order of files and frames."""
    begun = [future for future in futures if not future.cancel()]
    error = next(found for future in begun if (found := future.exception()) is not None)
    if isinstance(error, BrokenExecutor):
        raise ChildProcessError(f"data.cache: {error}; what is done is kept, start again to go on") from error
    raise error


def _make_all(job: Job, images: Iterable[ase.Atoms]) -> int:
    """Shards of a file that only can be read from its beginning; those that are there stay."""
    number = first = n_atoms = 0
    some: list[ase.Atoms] = []

    def close() -> None:
        if open_shard(job.shard(number)) is None:
            _make(job, number, some, first)

    for atoms in images:
        some.append(atoms)
        n_atoms += len(atoms)
        if job.source.limits.reached(len(some), n_atoms):
            close()
            number, first, n_atoms = number + 1, first + len(some), 0
            some = []
    if some:
        close()
        number += 1
    return number


def _make(job: Job, number: int, images: Sequence[ase.Atoms], first: int) -> None:
    source = job.source
    found = presence(str(source.path), images, source.keys, first)
    names, origin = chosen_keys([found], source.keys), replace(source.origin, weight=1.0)
    reading = Reading(source.keys, weight_key=source.weight_key)
    frames = [
        read_frame(atoms, f"frame {k} of {source.path}", names, origin, reading)
        for k, atoms in enumerate(images, first)
    ]
    source.require_unchanged()  # or the shard would go by the name of what the file was
    write_shard(job.shard(number), frames, found, source.r_max, source.skin)
