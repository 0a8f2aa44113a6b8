"""Every frame of a run and what became of it, in one database of `ase.db`: an SQLite file, or PostgreSQL by its URL.

Columns (key-value pairs of each row): `status`, `content` (hash of the geometry), `arm`, `round`, `trajectory`, `step`,
`std` (largest force std when it was found, eV/Å), `source` (`given`, `perturbed`, `threshold` or `regular`), `system`
(where a run has several), `calls` (oracle calls spent on it), `shared` (1 where the label came from another arm),
`side` (`train` or `validation`, decided when a frame is chosen), `cut` (`periodic` or `cluster`) and `cut_from` (atoms)
where it was cut out of a larger one, `reason` (why it was discarded or failed), and of a label that the run computed
`settings` (fingerprint of the oracle's), `host` and `seconds`. Labels are the row's own energy (eV), forces (eV/Å) and
stress (eV/Å^3); which atoms' forces count is in its data, where not all do.

Each method is one transaction, so a killed process leaves either all of it or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ..data import content as geometry
from ..data.labels import FORCES_MASK
from ..oracle.labels import Label, Origin
from .databases import Place, open_database
from .duplicates import Geometries

if TYPE_CHECKING:
    from .cut import Cut

CANDIDATE, CHOSEN, LABELLED = "candidate", "chosen", "labelled"
FAILED, DISCARDED = "failed", "discarded"
SPENT = (CHOSEN, LABELLED, FAILED)
"""What was sent to the oracle, or is about to be."""
DUPLICATE = "equal to"
"""How the reason begins why a frame was discarded that the run has already."""
GIVEN, TEST_SET = "given", "test"
"""The arms of the frames that every arm starts from, and of those it is judged by."""
THRESHOLD, REGULAR = "threshold", "regular"
"""The sources of frames that an explorer saved because they were uncertain, and at regular intervals."""
PERTURBED = "perturbed"
"""The source of frames made by shaking the given ones; their arm is `GIVEN`."""
TRAIN, VALIDATION = "train", "validation"
SideOf = Callable[[str], str]
"""From the key of a geometry to the side where it belongs."""


@dataclass(frozen=True)
class Candidate:
    """A frame that an explorer brought home. `reason` is set if the guard refused it."""

    atoms: Atoms
    step: int
    std: float
    source: str
    reason: str | None = None


@dataclass(frozen=True)
class StoredFrame:
    """A row of the store; `atoms` carries its label, if any, as a calculator, and `FORCES_MASK` if need be."""

    id: int
    atoms: Atoms
    columns: dict[str, Any] = field(repr=False)

    @property
    def system(self) -> str:
        """Its name; empty in a run of one."""
        return str(self.columns.get("system", ""))


def always_train(content: str) -> str:
    """Every frame is trained on."""
    return TRAIN


def content_key(atoms: Atoms) -> str:
    """The key of a frame's geometry, see `mollifield_train.data.content`."""
    return geometry.content_key(atoms.numbers, atoms.get_positions(), atoms.cell.array, atoms.pbc)


class Store:
    """The frames of one run. Any number of processes may open the same place.

    Every method raises ValueError with the place's name if it is damaged, or the disk full.
    """

    def __init__(self, place: Place) -> None:
        self._database = open_database(place)

    def add_given(
        self,
        frames: Sequence[Atoms],
        source: str = GIVEN,
        side_of: SideOf = always_train,
        calls: Mapping[str, int] | None = None,
        arm: str = GIVEN,
        system: str = "",
    ) -> None:
        """Add frames that the run starts from, or (`arm`) is judged by; those already there are left alone.

        Frames with a label (energy and forces) are labelled, at the cost of the `calls` to the oracle that
        were made to check them (by the frame's key); the others are chosen.
        """
        with self._database as database:
            known = {row.content for row in database.select(arm=arm)}
            for step, atoms in enumerate(frames):
                content = content_key(atoms)
                if content in known:
                    continue
                known.add(content)
                label = label_of(atoms)
                database.write(
                    _bare(atoms, label),
                    status=CHOSEN if label is None else LABELLED,
                    content=content,
                    arm=arm,
                    round=0,
                    trajectory=0,
                    step=step,
                    source=source,
                    calls=(calls or {}).get(content, 0),
                    side=side_of(content),
                    **_named(system),
                )

    def add_test_frame(self, atoms: Atoms, index: int, system: str = "") -> None:
        """Add a labelled test frame, with the momenta from which its dynamics continues."""
        with self._database as database:
            database.write(
                atoms,
                status=LABELLED,
                content=content_key(atoms),
                arm=TEST_SET,
                round=0,
                trajectory=0,
                step=index,
                source=TEST_SET,
                calls=1,
                **_named(system),
            )

    def replace_candidates(
        self, arm: str, round_: int, trajectory: int, candidates: Iterable[Candidate], system: str = ""
    ) -> None:
        """Store what one trajectory found, instead of what an interrupted one left behind.

        A frame that the arm has already, or that it is judged by, is discarded with that reason.
        """
        where = {"arm": arm, "round": round_, "trajectory": trajectory}
        known = self._known(arm, round_, trajectory)
        seen = set()
        rows = []
        for candidate in candidates:
            # A frame above the threshold comes again among those at regular intervals.
            content = content_key(candidate.atoms)
            if content in seen:
                continue
            seen.add(content)
            reason = candidate.reason
            if reason is None:
                twin = known.find(candidate.atoms)
                reason = None if twin is None else f"{DUPLICATE} {twin}"
                known.add(f"step {candidate.step} of the same trajectory", candidate.atoms)
            rows.append((candidate, content, reason))
        with self._database as database:
            database.delete([row.id for row in database.select(**where)])
            for candidate, content, reason in rows:
                columns = {} if reason is None else {"reason": reason}
                database.write(
                    _bare(candidate.atoms, None),
                    status=CANDIDATE if reason is None else DISCARDED,
                    content=content,
                    step=candidate.step,
                    std=candidate.std,
                    source=candidate.source,
                    calls=0,
                    **where,
                    **columns,
                    **_named(system),
                )

    def _known(self, arm: str, round_: int, trajectory: int) -> Geometries:
        """Frames that a trajectory of an arm cannot find anew."""
        # Asked for by status: candidates of earlier rounds are most of what a run has, and none of these.
        frames = [f for of in (GIVEN, TEST_SET, arm) for status in SPENT for f in self.frames(arm=of, status=status)]
        frames += self.frames(arm=arm, round=round_, status=CANDIDATE)
        own = {"arm": arm, "round": round_, "trajectory": trajectory}
        others = (f for f in frames if any(f.columns[key] != value for key, value in own.items()))
        return Geometries((f"frame {f.id} ({f.columns['arm']})", f.atoms) for f in others)

    def choose(self, ids: Iterable[int], side_of: SideOf = always_train, cuts: Mapping[int, Cut] | None = None) -> None:
        """Mark candidates as the batch to label: all of them or, if killed, none.

        `cuts`, by the number of a row, take the place of frames that they are cut out of. This is where a frame's side
        is decided, unless another arm has decided it.
        """
        with self._database as database:
            for id_ in ids:
                row = database.get(id=int(id_))
                content, changes = row.content, {}
                if cuts and id_ in cuts:
                    cut = cuts[id_]
                    content = content_key(cut.atoms)
                    mask = cut.atoms.arrays.get(FORCES_MASK)
                    changes = {"atoms": _bare(cut.atoms, None), "content": content}
                    changes |= {"cut": cut.kind, "cut_from": row.natoms}
                    changes |= {} if mask is None else {"data": {FORCES_MASK: mask.astype(int)}}
                sides = {row.get("side") for row in database.select(content=content)} - {None}
                side = sides.pop() if sides else side_of(content)
                database.update(int(id_), status=CHOSEN, side=side, **changes)

    def record_label(self, id_: int, label: Label, calls: int, shared: bool = False) -> None:
        """Store a label in the row of its frame; `shared`: another arm had it computed."""
        with self._database as database:
            atoms = database.get_atoms(id=id_)
            made = {} if label.origin is None else asdict(label.origin)
            database.update(id_, atoms=_bare(atoms, label), status=LABELLED, calls=calls, shared=int(shared), **made)

    def record_failure(self, id_: int, reason: str, calls: int) -> None:
        """Mark a frame that the oracle could not label, with the last error."""
        with self._database as database:
            database.update(id_, status=FAILED, reason=f"error: {reason}", calls=calls)

    def retry_failed(self, reason: str = "") -> int:
        """Mark frames that failed, with `reason` in theirs, as chosen again; how many. Their calls still count."""
        failed = [f for f in self.frames(status=FAILED) if reason in f.columns.get("reason", "")]
        with self._database as database:
            for frame in failed:
                database.update(frame.id, delete_keys=["reason"], status=CHOSEN)
        return len(failed)

    def clear(self) -> None:
        """Delete all frames."""
        with self._database as database:
            database.delete([row.id for row in database.select(columns=["id"], include_data=False)])

    def find_label(self, content: str) -> tuple[Label, int] | None:
        """A label that any arm already has for this geometry, and the calls that it took."""
        with self._database as database:
            for row in database.select(content=content, status=LABELLED, limit=1):
                label = label_of(row.toatoms())
                return None if label is None else (replace(label, origin=_origin(row.key_value_pairs)), row.calls)
        return None

    def frames(self, **where: Any) -> list[StoredFrame]:
        """Rows whose columns equal `where`, in the order in which they were added."""
        with self._database as database:
            return [
                StoredFrame(row.id, _atoms_of(row), dict(row.key_value_pairs))
                for row in database.select(sort="id", **where)
            ]

    def columns(self, **where: Any) -> list[dict[str, Any]]:
        """Those of `frames`, without the atoms: much less to read."""
        with self._database as database:
            rows = database.select(sort="id", columns=["id", "key_value_pairs"], include_data=False, **where)
            return [dict(row.key_value_pairs) for row in rows]

    def labelled_frames(self, arm: str, round_: int, side: str | None = None) -> list[StoredFrame]:
        """What `arm` knows after `round_`; with `side`, only the frames of that side."""
        labelled = self.frames(arm=GIVEN, status=LABELLED)
        if arm != GIVEN:
            labelled += self.frames(arm=arm, status=LABELLED)
        return [
            frame for frame in labelled if frame.columns["round"] <= round_ and side in (None, frame.columns["side"])
        ]

    def training_frames(self, arm: str, round_: int) -> list[StoredFrame]:
        """Labelled frames that the model of `arm` may learn from after `round_`."""
        return self.labelled_frames(arm, round_, TRAIN)

    def oracle_calls(self, arm: str, round_: int) -> int:
        """Oracle calls spent on an arm (and on the given frames) up to and including a round."""
        rows = [row for of in {GIVEN, arm} for status in SPENT for row in self.columns(arm=of, status=status)]
        return sum(row["calls"] for row in rows if row["round"] <= round_)


def _atoms_of(row: Any) -> Atoms:
    atoms: Atoms = row.toatoms()
    mask = row.data.get(FORCES_MASK) if row.get("cut") else None
    if mask is not None:
        atoms.set_array(FORCES_MASK, np.asarray(mask, dtype=bool))
    return atoms


def _named(system: str) -> dict[str, str]:
    """The column of a system; a run of one has none."""
    return {"system": system} if system else {}


def without_numbers(reason: str) -> str:
    """The same for reasons that differ in their numbers alone."""
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", reason)


def label_of(atoms: Atoms) -> Label | None:
    """The energy, forces and stress that a frame carries; None without energy or forces."""
    results = {} if atoms.calc is None else atoms.calc.results
    if "energy" not in results or "forces" not in results:
        return None
    return Label(results["energy"], results["forces"], results.get("stress"))


def _origin(columns: Mapping[str, Any]) -> Origin | None:
    """None for labels that came with frames, or that an earlier release computed."""
    return Origin(columns["settings"], columns["host"], columns["seconds"]) if "settings" in columns else None


def _bare(atoms: Atoms, label: Label | None) -> Atoms:
    """Geometry and label only: explorers' momenta and arrays do not belong in the store."""
    bare = Atoms(atoms.numbers, atoms.get_positions(), cell=atoms.cell, pbc=atoms.pbc)
    if label is not None:
        results = {"energy": label.energy, "forces": label.forces}
        if label.stress is not None:
            results["stress"] = label.stress
        bare.calc = SinglePointCalculator(bare, **results)
    return bare
