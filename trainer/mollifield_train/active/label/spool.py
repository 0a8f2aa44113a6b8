"""Labels on their way from the worker that computed them to the store, and who may compute which.

A worker writes its label into the spool before it tells anybody, so that the label is safe from the
moment it exists. Arms run in processes of their own and share the spool: each claims a geometry before
it has it computed, and the other one waits.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ...durable import replacing
from ...oracle.labels import Label, Origin

_CLAIM = ".claim"


def spool_file(spool: Path, content: str) -> Path:
    """Where the label of the geometry with this key lies."""
    return spool / f"{content}.json"


def save(spool: Path, content: str, label: Label, calls: int) -> None:
    """Write a label that took `calls` oracle calls, whole or not at all."""
    values = {
        "energy": label.energy,
        "forces": label.forces.tolist(),
        "stress": None if label.stress is None else label.stress.tolist(),
        "calls": calls,
        "origin": None if label.origin is None else asdict(label.origin),
    }
    with replacing(spool_file(spool, content)) as temporary:
        temporary.write_text(json.dumps(values), encoding="utf-8")


def load(path: Path) -> tuple[Label, int]:
    """What `save` wrote; raises FileNotFoundError."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    stress = None if values["stress"] is None else np.array(values["stress"])
    origin = values.get("origin")  # None in the spool of an earlier release
    label = Label(values["energy"], np.array(values["forces"]), stress, None if origin is None else Origin(**origin))
    return label, values["calls"]


def remove_stale_claims(spool: Path) -> None:
    """Delete the claims that killed processes left; nobody else may be using the spool."""
    for path in spool.glob(f"*{_CLAIM}"):
        path.unlink()


class Claims:
    """Geometries that nobody but this process computes, until it lets go of them or dies.

    A claim is a locked file, and the kernel frees the lock however the process ends.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._held: dict[str, int] = {}

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for content in list(self._held):
            self.release(content)

    def take(self, contents: Sequence[str]) -> set[str]:
        """Claim all that are free; where none is, wait for the first one.

        Nothing is held while it waits, so two processes never wait for each other.
        """
        for content in contents:
            self._take(content, wait=False)
        if contents and not self._held:
            self._take(contents[0], wait=True)
        return set(self._held)

    def release(self, content: str) -> None:
        """Let others have it; its label, if there is one, must be in the store by now."""
        descriptor = self._held.pop(content)
        # Removed first: who waits for the lock then sees that the file is another one.
        self._path(content).unlink(missing_ok=True)
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough where a child has the file open
        os.close(descriptor)

    def _path(self, content: str) -> Path:
        return self._spool / f"{content}{_CLAIM}"

    def _take(self, content: str, wait: bool) -> None:
        while content not in self._held:
            descriptor = os.open(self._path(content), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if self._is_there(content, descriptor):
                    self._held[content] = descriptor
                    return
            except BlockingIOError:
                os.close(descriptor)
                return
            except BaseException:  # Ctrl-C while it waits
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_there(self, content: str, descriptor: int) -> bool:
        """Whether the locked file is still the one that others find under this name."""
        try:
            found = os.stat(self._path(content))
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(descriptor))
