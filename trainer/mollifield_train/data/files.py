"""Files of frames, whatever program wrote them: which files a pattern names, and the configurations in them.

ASE reads the formats. Here is what has to be known beyond: what it makes up where a file says nothing, and where a
broken file breaks. Every problem is a ValueError that names the file, and the frame where there is one.
"""

import glob
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
import ase.db
import ase.io
from ase.io.formats import UnknownFileTypeError, filetype, ioformats, open_with_compression
from ase.io.lammpsrun import iread_lammps_dump_text

from .origins import PLAIN, Origin

EXTXYZ = "extxyz"
XYZ_SUFFIXES = (".xyz", ".extxyz")


FOUND = ("traj", "db", "json", "lammps-dump-text", "vasp-xml", "vasp-out", "espresso-out")
"""ASE's names of the formats that are found out; others have to be named, for ASE guesses many."""
STREAMED = ("lammps-dump-text", "db", "json", "traj")
"""Formats that are read frame by frame, so that the frame at fault is known."""


def find_files(patterns: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files that paths and glob patterns (`**` for any folders) name, in order, each once.

    Raises ValueError: a path is no file, or a pattern matches none.
    """
    found: dict[Path, Path] = {}
    for pattern in [patterns] if isinstance(patterns, str | Path) else patterns:
        path = Path(pattern)
        matched = [path]
        if not path.is_file() and glob.has_magic(str(pattern)):
            matched = [
                match for text in sorted(glob.glob(str(pattern), recursive=True)) if (match := Path(text)).is_file()
            ]
            if not matched:
                raise ValueError(f"{pattern}: matches no file (looked from {Path().absolute()})")
        for match in matched:
            if not match.is_file():
                raise ValueError(f"{match}: no such file (looked for {match.absolute()})")
            found.setdefault(match.resolve(), match)
    return list(found.values())


def iterate_atoms(path: Path, origin: Origin = PLAIN) -> Iterator[ase.Atoms]:
    """The configurations of a file, one by one; raises ValueError if it is unreadable or empty."""
    name = format_of(path, origin)
    n_frames = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ASE's parsers, about what is not read here
            for atoms in READERS.get(name, _read)(path, name, origin):
                n_frames += 1
                yield atoms
    except Exception as error:  # ASE raises many kinds, KeyError and IndexError among them
        place = _first_bad_frame(path.read_bytes()) if name == EXTXYZ else ""
        reason = place or f"frame {n_frames}: {error or type(error).__name__}"
        raise ValueError(f"{path}: cannot be read as {_described(name)}: {reason}") from error
    if not n_frames:
        raise ValueError(f"{path}: contains no frames")


def format_of(path: Path, origin: Origin = PLAIN) -> str:
    """ASE's name of the format of a file; raises ValueError for a given one that ASE does not know."""
    if origin.format is not None:
        if origin.format not in ioformats:
            raise ValueError(f"{path}: format '{origin.format}' is none that ASE knows")
        return origin.format
    if path.suffix in XYZ_SUFFIXES:
        return EXTXYZ
    try:
        found = filetype(str(path))
    except UnknownFileTypeError:
        return EXTXYZ
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    return found if found in FOUND else EXTXYZ


def _described(name: str) -> str:
    return "extended xyz" if name == EXTXYZ else ioformats[name].description


def _read(path: Path, name: str, origin: Origin) -> Iterator[ase.Atoms]:
    yield from ase.io.iread(path, index=":", format=name)


def _read_database(path: Path, name: str, origin: Origin) -> Iterator[ase.Atoms]:
    """Key-value pairs of a row are its info, as those of an extended-xyz file are."""
    with ase.db.connect(path) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            atoms.info.update({key: value for key, value in row.data.items() if key not in atoms.info})
            yield atoms


def _read_dump(path: Path, name: str, origin: Origin) -> Iterator[ase.Atoms]:
    """ASE makes up an energy of zero, and takes atom types for atomic numbers where nobody names the elements."""
    named = _names_elements(path)
    if not named and origin.symbols is None:
        raise ValueError(
            "atoms have no element; give data.origins for this file with `symbols`, one for each atom type, or write "
            "the dump with `element` (or `mass`) among its columns"
        )
    with open_with_compression(str(path), "r") as file:
        for atoms in iread_lammps_dump_text(file, index=":", specorder=_Elements(origin.symbols or ())):
            if atoms.calc is not None:
                atoms.calc.results.pop("energy", None)
            yield atoms


def _names_elements(path: Path) -> bool:
    with open_with_compression(str(path), "r") as file:
        columns: list[str] = next((line.split()[2:] for line in file if line.startswith("ITEM: ATOMS")), [])
    return "element" in columns or "mass" in columns


class _Elements(list[str]):
    """Of atom types, from 0 on; an error that speaks of types from 1 on."""

    def __getitem__(self, k: Any) -> Any:
        if k >= len(self):
            raise ValueError(f"atom type {k + 1}, and {len(self)} of `symbols`: {', '.join(self)}")
        return super().__getitem__(k)


Reader = Callable[[Path, str, Origin], Iterator[ase.Atoms]]
READERS: dict[str, Reader] = {"db": _read_database, "json": _read_database, "lammps-dump-text": _read_dump}
"""Formats that are more than a call of ASE's, by its names for them."""


def iterate_block(path: Path, content: bytes, first: int) -> Iterator[ase.Atoms]:
    """The configurations of a piece of an extended-xyz file, which begins with its frame `first`.

    Raises ValueError as `iterate_atoms`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield from ase.io.iread(_as_text(content), index=":", format=EXTXYZ)
    except Exception as error:
        reason = _first_bad_frame(content, first) or str(error) or type(error).__name__
        raise ValueError(f"{path}: cannot be read as {_described(EXTXYZ)}: {reason}") from error


def _as_text(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


def _first_bad_frame(content: bytes, first: int = 0) -> str:
    """Which frame of an extended-xyz file, or of a piece that begins with frame `first`, it breaks at, and why."""
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return "not a text file"
    frame, start = first, 0
    while start < len(lines) and lines[start].strip():
        problem = _problem_of_block(lines, start)
        if problem:
            return f"frame {frame} {problem}"
        start += 2 + int(lines[start])
        frame += 1
    frame = first
    try:
        for _ in ase.io.iread(_as_text(content), index=":", format=EXTXYZ):
            frame += 1
    except KeyError as error:
        return f"frame {frame}: {error} is no chemical symbol"
    except Exception as error:  # the reason why `iterate_atoms` came here
        return f"frame {frame}: {error}"
    return ""


def _problem_of_block(lines: list[str], start: int) -> str:
    """What is wrong with the layout of the frame that begins with line `start`, or nothing."""
    count = lines[start].strip()
    if not count.isdecimal():
        return f"should start with a number of atoms, found {count[:40]!r}"
    rows = lines[start + 2 : start + 2 + int(count)]
    if len(rows) < int(count):
        return f"is truncated: {count} atoms announced, {len(rows)} lines found"
    columns = [len(row.split()) for row in rows]
    for atom, n in enumerate(columns):
        if n != columns[0]:
            return f"has {n} columns in the line of atom {atom}, {columns[0]} in that of atom 0"
    return ""
