"""Where a store lies: an SQLite file, or a PostgreSQL database by its URL. A block of either is one transaction."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.db

from ..durable import NamedDatabase, replacing

Place = Path | str
"""A file, or `postgresql://user@host/database`."""
_LOCK = 0x6D6F6C6C
"""Of one transaction at a time in a PostgreSQL database."""


def is_there(place: Place) -> bool:
    """Whether a store may be read; a server answers for its own."""
    return not isinstance(place, Path) or place.exists()


def open_database(place: Place) -> Any:
    """What `with` makes a database of `ase.db` of, for one transaction; made where there is none.

    Raises ValueError, now and in each block, with the place: it is damaged, full, or does not answer.
    """
    if not isinstance(place, Path):
        return _Server(place)
    if not place.exists():
        # ase.db creates its tables one by one; a kill in between would leave a broken file.
        with replacing(place) as temporary, _sqlite(temporary) as database:
            database.count()
    elif place.stat().st_size == 0:  # SQLite would take it for a new database
        raise ValueError(f"{place}: damaged, an empty file")
    # A lock file would outlive a killed process; SQLite's own locks do not.
    named = NamedDatabase(_sqlite(place), place)
    with named as database:
        found = database.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise ValueError(f"{place}: damaged: {' '.join(found.split())}")
    return named


def _sqlite(path: Path) -> Any:
    return ase.db.connect(path, type="db", use_lock_file=False)


class _Server:
    """A PostgreSQL database. The server takes back what a killed process had not committed, and frees its lock."""

    def __init__(self, url: str) -> None:
        try:
            import psycopg2
            from ase_db_backends.postgresql import PostgreSQLDatabase
        except ImportError as error:
            raise ValueError(
                f"store: {error}; a PostgreSQL database takes `pip install mollifield[postgresql]`"
            ) from error
        self._error = psycopg2.Error
        self._shown = re.sub(r"(//[^/@]*):[^/@]*@", r"\1@", url)  # no password in messages
        self._database = PostgreSQLDatabase(url)
        with self as database:
            database.count()  # makes the tables, all in one transaction

    def __enter__(self) -> Any:
        with self._named():
            database = self._database.__enter__()
            wrapped = database.connection
            wrapped.rollback = wrapped.con.rollback  # which `ase.db` calls after an error, and the backend forgot
            # Reads are followed by writes that rest on them; SQLite has one writer at a time too.
            wrapped.con.cursor().execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            return database

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        with self._named():
            self._database.__exit__(kind, error, trace)
            if isinstance(error, self._error):
                raise error

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise ValueError(f"{self._shown}: {' '.join(str(error).split())}") from error
