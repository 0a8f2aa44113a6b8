"""When an arm has learnt enough before its rounds are over, in words; from the metrics of its rounds alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..durable import read_json
from .config import FinishConfig, LoopConfig
from .explore.trajectory import MAX_STD, read_trace
from .parts import Paths

QUANTILE = 0.95
FRESH_STD = "fresh_std"
"""In the metrics of a round: what `fresh_std` gives."""


def fresh_std(folder: Path) -> float | None:
    """Of the largest force stds (eV/Å) along a round's trajectories, which the model had not seen: their 95% quantile.

    None where no explorer wrote them down.
    """
    traces = [read_trace(file)[0] for file in sorted(folder.glob("trajectory-*.json"))]
    stds = [std for trace in traces for std in trace.columns.get(MAX_STD, ())]
    return float(np.quantile(stds, QUANTILE)) if stds else None


def why_finished(settings: FinishConfig, rounds: Sequence[dict[str, Any]]) -> str:
    """Why nothing more is to be done after these rounds (metrics, the first training's first); empty: go on."""
    n = settings.rounds
    last = rounds[1:][-n:]
    if len(last) < n:
        return ""
    if settings.std is not None:
        stds = [row.get(FRESH_STD) for row in last]
        if all(std is not None and std < settings.std for std in stds):
            return (
                f"the std on fresh trajectories was below {settings.std:g} eV/Å in {n} rounds "
                f"({', '.join(f'{std:.3f}' for std in stds)})"
            )
    if settings.gain is not None:
        errors = [row["force_rmse"] for row in rounds[-n - 1 :]]
        gains = [1.0 - after / before for before, after in pairwise(errors)]
        if max(gains) < settings.gain:
            return (
                f"the force RMSE fell by less than {100 * settings.gain:g}% in {n} rounds "
                f"({', '.join(f'{1000 * error:.1f}' for error in errors)} meV/Å)"
            )
    return ""


def rounds_to_do(config: LoopConfig, paths: Paths, arm: str) -> tuple[int, str]:
    """The last round of an arm as far as is known, and why it is the last one before the budget's end."""
    rows: list[dict[str, Any]] = []
    for number in range(config.rounds + 1):
        path = paths.round(arm, number) / "metrics.json"
        if not path.exists():
            break
        rows.append(read_json(path))
        why = why_finished(config.finish, rows)
        if why and number < config.rounds:
            return number, why
    return config.rounds, ""
