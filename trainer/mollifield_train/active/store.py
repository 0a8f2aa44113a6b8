"""Every frame of a run and what became of it, in one ``ase.db`` SQLite database.

Columns (key-value pairs of each row): ``status``, ``content`` (hash of the geometry), ``arm``,
``round``, ``trajectory``, ``step``, ``std`` (largest force std when it was found, eV/Å), ``source``
(``given``, ``threshold`` or ``regular``), ``calls`` (oracle calls spent on it), ``reason`` (why it
was discarded or failed). Labels are the row's own energy (eV), forces (eV/Å) and stress (eV/Å^3).

Each method is one SQLite transaction, so a killed process leaves either all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from mollifield_train.data import content as geometry
from mollifield_train.durable import replacing

CANDIDATE, CHOSEN, LABELLED = "candidate", "chosen", "labelled"
FAILED, DISCARDED = "failed", "discarded"
GIVEN, TEST = "given", "test"
"""The arms of the frames that every arm starts from, and of those it is judged by."""


@dataclass(frozen=True)
class Label:
    """What an oracle says about a frame: eV, ``[N, 3]`` eV/Å, Voigt ``[6]`` eV/Å^3 or None."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Candidate:
    """A frame that an explorer brought home. ``reason`` is set if the guard refused it."""

    atoms: Atoms
    step: int
    std: float
    source: str
    reason: str | None = None


@dataclass(frozen=True)
class StoredFrame:
    """A row of the store; ``atoms`` carries its label, if any, as a calculator."""

    id: int
    atoms: Atoms
    columns: dict[str, Any] = field(repr=False)


def content_key(atoms: Atoms) -> str:
    """The key of a frame's geometry, see ``mollifield_train.data.content``."""
    return geometry.content_key(atoms.numbers, atoms.get_positions(), atoms.cell.array, atoms.pbc)


class Store:
    """The frames of one run. Any number of processes may open the same file."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            # ase.db creates its tables one by one; a kill in between would leave a broken file.
            with replacing(path) as temporary, self._connect(temporary) as database:
                database.count()
        # A lock file would outlive a killed process; SQLite's own locks do not.
        self._database = self._connect(path)

    @staticmethod
    def _connect(path: Path) -> Any:
        return ase.db.connect(path, type="db", use_lock_file=False)

    def add_given(self, frames: Sequence[Atoms]) -> None:
        """Add the frames that the run starts from; those already there are left alone.

        Frames with a label (energy and forces) are labelled at no cost, the others chosen.
        """
        with self._database as database:
            known = {row.content for row in database.select(arm=GIVEN)}
            for step, atoms in enumerate(frames):
                content = content_key(atoms)
                if content in known:
                    continue
                known.add(content)
                database.write(
                    _bare(atoms, _label_of(atoms)),
                    status=CHOSEN if _label_of(atoms) is None else LABELLED,
                    content=content, arm=GIVEN, round=0, trajectory=0, step=step,
                    source=GIVEN, calls=0,
                )  # fmt: skip

    def add_test(self, atoms: Atoms, index: int) -> None:
        """Add a labelled test frame, with the momenta from which its dynamics continues."""
        with self._database as database:
            database.write(
                atoms,
                status=LABELLED, content=content_key(atoms), arm=TEST, round=0, trajectory=0,
                step=index, source=TEST, calls=1,
            )  # fmt: skip

    def replace_candidates(
        self, arm: str, round_: int, trajectory: int, candidates: Iterable[Candidate]
    ) -> None:
        """Store what one trajectory found, instead of what an interrupted one left behind."""
        with self._database as database:
            where = dict(arm=arm, round=round_, trajectory=trajectory)
            database.delete([row.id for row in database.select(**where)])
            seen = {row.content for row in database.select(arm=arm)}
            for candidate in candidates:
                content = content_key(candidate.atoms)
                if content in seen:
                    continue
                seen.add(content)
                columns = {} if candidate.reason is None else {"reason": candidate.reason}
                database.write(
                    _bare(candidate.atoms, None),
                    status=CANDIDATE if candidate.reason is None else DISCARDED,
                    content=content, step=candidate.step, std=candidate.std,
                    source=candidate.source, calls=0, **where, **columns,
                )  # fmt: skip

    def choose(self, ids: Iterable[int]) -> None:
        """Mark candidates as the batch to label: all of them or, if killed, none."""
        with self._database as database:
            for id_ in ids:
                database.update(int(id_), status=CHOSEN)

    def record_label(self, id_: int, label: Label, calls: int) -> None:
        """Store a label in the row of its frame."""
        with self._database as database:
            atoms = database.get_atoms(id=id_)
            database.update(id_, atoms=_bare(atoms, label), status=LABELLED, calls=calls)

    def record_failure(self, id_: int, reason: str, calls: int) -> None:
        """Mark a frame that the oracle could not label, with the last error."""
        with self._database as database:
            database.update(id_, status=FAILED, reason=f"error: {reason}", calls=calls)

    def find_label(self, content: str) -> tuple[Label, int] | None:
        """A label that any arm already has for this geometry, and the calls that it took."""
        with self._database as database:
            for row in database.select(content=content, status=LABELLED, limit=1):
                label = _label_of(row.toatoms())
                return None if label is None else (label, row.calls)
        return None

    def frames(self, **where: Any) -> list[StoredFrame]:
        """Rows whose columns equal ``where``, in the order in which they were added."""
        with self._database as database:
            return [
                StoredFrame(row.id, row.toatoms(), dict(row.key_value_pairs))
                for row in database.select(sort="id", **where)
            ]

    def training_frames(self, arm: str, round_: int) -> list[StoredFrame]:
        """Labelled frames that the model of ``arm`` may learn from after ``round_``."""
        labelled = self.frames(arm=GIVEN, status=LABELLED)
        if arm != GIVEN:
            labelled += self.frames(arm=arm, status=LABELLED)
        return [frame for frame in labelled if frame.columns["round"] <= round_]

    def oracle_calls(self, arm: str, round_: int) -> int:
        """Oracle calls spent on an arm (and on the given frames) up to and including a round."""
        frames = self.frames(arm=GIVEN) + self.frames(arm=arm)
        return sum(f.columns["calls"] for f in frames if f.columns["round"] <= round_)


def _label_of(atoms: Atoms) -> Label | None:
    results = {} if atoms.calc is None else atoms.calc.results
    if "energy" not in results or "forces" not in results:
        return None
    return Label(results["energy"], results["forces"], results.get("stress"))


def _bare(atoms: Atoms, label: Label | None) -> Atoms:
    """Geometry and label only: explorers' momenta and arrays do not belong in the store."""
    bare = Atoms(atoms.numbers, atoms.get_positions(), cell=atoms.cell, pbc=atoms.pbc)
    if label is not None:
        results = {"energy": label.energy, "forces": label.forces}
        if label.stress is not None:
            results["stress"] = label.stress
        bare.calc = SinglePointCalculator(bare, **results)
    return bare
