"""What a file of frames is, by its content, and what else decides what is read from it."""

import contextlib
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...durable import read_json, write_json
from ...progress import counted
from ..files import format_of
from ..frames import Reading
from ..keys import LabelKeys
from ..origins import Origin, origin_of
from . import blocks
from .shard import MAGIC

PIECE = 1 << 24
"""Bytes that are hashed at a time."""
SETTLED = 2.0
"""Seconds since its last change after which a file's times tell whether it has changed again."""
STATES = "files"
"""Folder of a cache with what was seen of each file."""


@dataclass(frozen=True)
class Source:
    """A file of frames, and how it is read."""

    path: Path
    """As it was given; what messages say."""
    origin: Origin
    keys: LabelKeys
    weight_key: str | None
    r_max: float
    """Å."""
    skin: float
    """Å."""
    state: dict[str, int]
    """Size and times, when it was hashed."""
    content: str
    """Hash of its bytes."""
    limits: blocks.Limits
    """Of its shards."""

    @property
    def key(self) -> str:
        """Of its folder in the cache: the same wherever the file lies, and whatever its frames weigh."""
        origin = asdict(replace(self.origin, files="*", weight=1.0))
        said = {
            "shards": [MAGIC.decode(), *self.limits],
            "content": self.content,
            "format": format_of(self.path, self.origin),
            "origin": origin,
            "keys": vars(self.keys),
            "weight_key": self.weight_key,
            "cutoff": [self.r_max, self.skin],
            "read_by": [version("ase"), version("vesin")],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]

    def require_unchanged(self) -> None:
        """Raises ValueError where the file has changed since it was hashed."""
        if state_of(self.path) != self.state:
            raise ValueError(f"{self.path}: changed while it was read; start again when it is written")


def source_of(path: Path, reading: Reading, r_max: float, skin: float, cache: Path, progress: bool) -> Source:
    """What a file is now; it is hashed again where its size or times are not those that `cache` remembers."""
    origin, state = origin_of(path, reading.origins), state_of(path)
    content = content_of(path, state, cache, progress)
    return Source(
        path, origin, origin.keys(reading.keys), reading.weight_key, r_max, skin, state, content, blocks.LIMITS
    )


def state_of(path: Path) -> dict[str, int]:
    """What changes with a file: its last number changes with every write, also one that sets the time back."""
    found = os.stat(path)
    return {"size": found.st_size, "inode": found.st_ino, "mtime": found.st_mtime_ns, "ctime": found.st_ctime_ns}


def content_of(path: Path, state: dict[str, int], cache: Path, progress: bool) -> str:
    """Hash of a file's bytes, from memory where nothing says that it has changed."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    memory = cache / STATES / f"{name}.json"
    remembered: dict[str, Any] = {}
    if memory.is_file():
        try:
            remembered = read_json(memory)
        except ValueError:  # which costs a hash
            remembered = {}
    if remembered.get("state") == state:
        return str(remembered["content"])
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        pieces = iter(lambda: file.read(PIECE), b"")
        for piece in counted(pieces, f"hashing {path.name}", "piece", -(-state["size"] // PIECE), progress):
            digest.update(piece)
    # A file that is written at this moment may change within one tick of its clock.
    if time.time_ns() - max(state["mtime"], state["ctime"]) > SETTLED * 1e9:
        with contextlib.suppress(OSError):  # a cache that may only be read: the file is hashed each time
            write_json(memory, {"path": str(path.resolve()), "state": state, "content": digest.hexdigest()})
    return digest.hexdigest()
