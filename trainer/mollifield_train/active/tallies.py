"""What an arm has after a round and what it cost, from the beginning of the run: numbers for the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .config import LoopConfig
from .start import is_isolated_atom
from .store import DISCARDED, DUPLICATE, FAILED, GIVEN, LABELLED, VALIDATION, Store, StoredFrame
from .systems import labels_a_round, pools, systems_of


def counts(store: Store, config: LoopConfig, arm: str, number: int) -> dict[str, int]:
    """Of all systems together."""
    own = _found(store, arm, number)
    labelled = store.labelled_frames(arm, number)
    found = _counts(own, labelled)
    return found | {
        "n_valid": sum(frame.columns["side"] == VALIDATION for frame in labelled),
        "n_missing": number * labels_a_round(config) - found["n_new"],
        "oracle_calls": store.oracle_calls(arm, number),
        "n_shared": sum(row.get("shared", 0) for row in own if row["status"] == LABELLED),
        "n_failed": found["n_failed"] + len(store.columns(arm=GIVEN, status=FAILED)),
    }


def counts_by_system(
    store: Store, config: LoopConfig, arm: str, number: int, force_rmse: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """By the name of a system, with `force_rmse` (eV/Å) of its test frames where it has some; `n_missing` where it has
    a budget of its own."""
    own, labelled = _found(store, arm, number), store.labelled_frames(arm, number)
    budgets = {pool.name: pool.batch for pool in pools(config)}
    found: dict[str, dict[str, Any]] = {}
    for system in systems_of(config):
        found[system] = _counts(
            [row for row in own if row.get("system", "") == system],
            [frame for frame in labelled if frame.system == system],
        )
        if system in budgets:
            found[system]["n_missing"] = number * budgets[system] - found[system]["n_new"]
        if system in force_rmse:
            found[system]["force_rmse"] = force_rmse[system]
    return found


def _found(store: Store, arm: str, number: int) -> list[dict[str, Any]]:
    """Columns of what the arm itself has come to; candidates, which nothing came of, are the most, and not counted."""
    statuses = () if arm == GIVEN else (LABELLED, FAILED, DISCARDED)
    rows = [row for status in statuses for row in store.columns(arm=arm, status=status)]
    return [row for row in rows if row["round"] <= number]


def _counts(own: Sequence[dict[str, Any]], labelled: Sequence[StoredFrame]) -> dict[str, int]:
    status = Counter(row["status"] for row in own)
    reasons = [row["reason"] for row in own if row["status"] == DISCARDED]
    n_duplicates = sum(reason.startswith(DUPLICATE) for reason in reasons)
    return {
        "n_frames": sum(not is_isolated_atom(frame.atoms) for frame in labelled),
        "n_new": status[LABELLED],
        "n_cut": sum("cut" in row and row["status"] == LABELLED for row in own),
        "n_failed": status[FAILED],
        "n_discarded": len(reasons) - n_duplicates,
        "n_duplicates": n_duplicates,
    }
