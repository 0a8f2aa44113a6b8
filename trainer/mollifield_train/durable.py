"""What makes a run survive `kill -9`: files that are whole or absent, one loop in a directory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\..+\.\d+\.[a-z]+")
SCRATCH = "calculation-"
"""Beginning of the names of folders in a run's directory whose content is worthless after a kill."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces `path` if the block succeeds.

    A reader, or a process started after a kill, sees the old file or the whole new one. The suffix
    is kept, because writers choose their format by it. An OSError (a full disk) names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, temporary, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content`, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left below `folder`: temporary files of `replacing`, scratch folders in it."""
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()
    for path in folder.glob(f"{SCRATCH}*/"):
        shutil.rmtree(path, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote.

    Raises ValueError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, or of UTF-8
        raise ValueError(f"{path}: damaged, not JSON: {error}") from error


class NamedDatabase:
    """A context manager like `ase.db`'s databases that turns SQLite's errors into ones that name the file."""

    def __init__(self, database: Any, path: Path) -> None:
        self._database = database
        self._path = path

    def __enter__(self) -> Any:
        with self._named():
            return self._database.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Commit or, after an error, roll back; raises ValueError for SQLite's own errors, before or now."""
        with self._named():
            self._database.__exit__(kind, error, trace)
            if isinstance(error, sqlite3.DatabaseError):
                raise error

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self._path}: {error}") from error


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock on `path`, if no other process does; the kernel frees it however the process ends."""
    with open(path, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mine = False
        else:
            mine = True
        yield mine


@contextlib.contextmanager
def only_process(path: Path, what: str = "loop") -> Iterator[None]:
    """The same; raises ValueError where another process, `what` in the message, holds it."""
    with claimed(path) as mine:
        if not mine:
            raise ValueError(f"{path.parent}: another {what} is running in this directory")
        yield


@contextlib.contextmanager
def one_after_another(path: Path) -> Iterator[None]:
    """Hold it, waiting for a process that does."""
    with open(path, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
