"""The store: what is there after each operation, and after it is repeated."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mollifield_train.active.store import Candidate, Store, content_key
from mollifield_train.oracle.labels import Label


def frame(seed: int) -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=seed)
    return atoms


def labelled(seed: int) -> Atoms:
    atoms = frame(seed)
    atoms.calc = EMT()
    atoms.get_forces()
    return atoms


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "frames.db")


def test_content_key_sees_geometry_and_nothing_else() -> None:
    atoms = frame(0)
    same = atoms.copy()
    same.positions += 1e-8
    same.set_momenta(np.ones((9, 3)))
    assert content_key(same) == content_key(atoms)
    for change in (
        lambda a: a.positions.__iadd__(1e-4),
        lambda a: a.set_cell([9, 9, 9]),
        lambda a: a.set_pbc([True, False, False]),
        lambda a: a.set_atomic_numbers([7, *a.numbers[1:]]),
    ):
        other = atoms.copy()
        change(other)
        assert content_key(other) != content_key(atoms)
    zero, minus = Atoms("H", [[0.0, 0, 0]]), Atoms("H", [[-0.0, 0, 0]])
    assert content_key(zero) == content_key(minus)


def test_given_frames_are_added_once(store: Store) -> None:
    frames = [labelled(1), frame(2), labelled(1)]
    store.add_given(frames)
    store.add_given(frames)
    rows = store.frames(arm="given")
    assert [row.columns["status"] for row in rows] == ["labelled", "chosen"]
    np.testing.assert_array_equal(rows[0].atoms.get_forces(), frames[0].get_forces())


def test_label_survives_the_database_exactly(store: Store) -> None:
    atoms = bulk("Cu", cubic=True)
    store.add_given([atoms])
    row = store.frames(status="chosen")[0]
    rng = np.random.default_rng(0)
    label = Label(-1 / 3, rng.normal(size=(4, 3)), rng.normal(size=6))
    store.record_label(row.id, label, calls=2)
    (read,) = store.training_frames("active", 0)
    assert read.atoms.get_potential_energy() == label.energy
    np.testing.assert_array_equal(read.atoms.get_forces(), label.forces)
    np.testing.assert_array_equal(read.atoms.get_stress(), label.stress)
    assert store.oracle_calls("active", 0) == 2


def test_repeated_trajectory_replaces_its_candidates(store: Store) -> None:
    store.replace_candidates("active", 1, 0, [Candidate(frame(k), k, 0.1, "regular") for k in (1, 2)])
    store.replace_candidates("active", 1, 1, [Candidate(frame(9), 9, 0.1, "regular")])
    again = [Candidate(frame(k), k, 0.2, "regular") for k in (1, 3, 9)]
    again.append(Candidate(frame(4), 4, -1.0, "regular", reason="atoms overlap"))
    store.replace_candidates("active", 1, 0, again)
    rows = store.frames(arm="active")
    assert sorted((r.columns["trajectory"], r.columns["step"]) for r in rows) == [
        (0, 1),
        (0, 3),
        (0, 4),
        (0, 9),
        (1, 9),
    ]
    # Step 9 is another trajectory's already; a geometry is labelled once.
    other = store.frames(trajectory=1)[0]
    reasons = {r.columns["step"]: r.columns["reason"] for r in store.frames(status="discarded")}
    assert reasons == {4: "atoms overlap", 9: f"equal to frame {other.id} (active)"}


def test_arms_do_not_see_each_other(store: Store) -> None:
    store.add_given([labelled(0)])
    for arm in ("active", "random"):
        store.replace_candidates(arm, 1, 0, [Candidate(frame(5), 0, 0.1, "regular")])
    ours = store.frames(arm="active")[0]
    store.choose([ours.id])
    store.record_label(ours.id, Label(0.0, np.zeros((9, 3))), calls=1)
    assert len(store.training_frames("active", 1)) == 2
    assert len(store.training_frames("active", 0)) == 1
    assert len(store.training_frames("random", 1)) == 1
    found = store.find_label(ours.columns["content"])
    assert found is not None and found[1] == 1


def test_failure_is_recorded_with_its_reason(store: Store) -> None:
    store.add_given([frame(0)])
    row = store.frames()[0]
    store.record_failure(row.id, "42", calls=3)  # ase.db refuses texts that look like numbers
    (failed,) = store.frames(status="failed")
    assert failed.columns["reason"] == "error: 42"
    assert store.training_frames("active", 9) == []


def test_a_batch_is_chosen_whole_or_not_at_all(store: Store) -> None:
    store.replace_candidates("active", 1, 0, [Candidate(frame(1), 1, 0.1, "regular")])
    (row,) = store.frames()

    def killed_after_one() -> Iterator[int]:
        yield row.id
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.choose(killed_after_one())
    assert store.frames()[0].columns["status"] == "candidate"


def test_no_half_made_database(tmp_path: Path) -> None:
    Store(tmp_path / "frames.db")
    assert [path.name for path in tmp_path.iterdir()] == ["frames.db"]
    with sqlite3.connect(tmp_path / "frames.db") as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert {"systems", "text_key_values", "number_key_values", "information"} <= tables


@pytest.mark.parametrize("damage", ["truncated", "empty", "overwritten", "text"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "frames.db"
    Store(path).add_given([labelled(seed) for seed in range(8)])
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "truncated": content[:middle],
            "empty": b"",
            "overwritten": content[:middle] + bytes(8192) + content[middle + 8192 :],
            "text": b"not a database\n" * 1000,
        }[damage]
    )
    with pytest.raises(ValueError, match=r"frames\.db: .*(damaged|malformed|not a database)"):
        Store(path).frames()


def test_a_full_disk_names_the_file_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "frames.db")
    store.add_given([frame(seed) for seed in range(4)])
    connect = store._database._database._connect

    def on_full_disk() -> sqlite3.Connection:
        connection = connect()
        connection.execute("PRAGMA max_page_count = 1")  # no page more than there are
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(store._database._database, "_connect", on_full_disk)
        with pytest.raises(ValueError, match=r"frames\.db: database or disk is full"):
            store.add_given([frame(seed) for seed in range(100, 200)])
    assert len(store.frames()) == 4
    store.add_given([labelled(9)])
    assert len(store.training_frames("given", 0)) == 1
