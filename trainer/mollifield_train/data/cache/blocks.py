"""Where the pieces of a large extended-xyz file begin, so that several processes may read it."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...progress import counted


class Limits(NamedTuple):
    """At which a shard is closed."""

    n_frames: int = 1000
    n_atoms: int = 20_000
    """In dense matter, with edges out to 6 Å, a shard then has some 60 MB."""

    def reached(self, n_frames: int, n_atoms: int) -> bool:
        """Whether it is."""
        return n_frames >= self.n_frames or n_atoms >= self.n_atoms


LIMITS = Limits()


class Block(NamedTuple):
    """A piece of a file."""

    first: int
    """Its first frame."""
    n_frames: int
    start: int
    """Byte."""
    end: int


def blocks_of(path: Path, limits: Limits, progress: bool) -> list[Block] | None:
    """Pieces of an extended-xyz file, each for a shard; None where its layout is not plain numbers of atoms and lines.

    Then whoever reads the whole of it says what is wrong.
    """
    try:
        return list(counted(_blocks(path, limits), f"looking for frames in {path.name}", "shard", shown=progress))
    except _OtherLayout:
        return None


class _OtherLayout(Exception):
    pass


def _blocks(path: Path, limits: Limits) -> Iterator[Block]:
    first = start = position = n_frames = n_atoms = 0
    with open(path, "rb") as file:
        while (line := file.readline()).strip():
            if not line.strip().isdigit():
                raise _OtherLayout
            rows = list(map(len, itertools.islice(file, int(line) + 1)))
            if len(rows) <= int(line):
                raise _OtherLayout
            position += len(line) + sum(rows)
            n_frames, n_atoms = n_frames + 1, n_atoms + int(line)
            if limits.reached(n_frames, n_atoms):
                yield Block(first, n_frames, start, position)
                first, start, n_frames, n_atoms = first + n_frames, position, 0, 0
    if n_frames:
        yield Block(first, n_frames, start, position)
    elif not first:
        raise _OtherLayout
