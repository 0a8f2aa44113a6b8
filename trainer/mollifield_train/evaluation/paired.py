"""Two models on the same frames: differences of their errors, and how sure they are.

Errors of both models on one frame go together (a hard frame is hard for both), so their difference is far better known
than either of them. Its standard error is the jackknife's: each frame, or block of successive frames, is left out in
turn (Efron & Stein, Ann. Stat. 9, 586 (1981)),

    se² = (n - 1)/n Σ_b (θ_(b) - mean θ)²,    θ = measure of model b - measure of model a.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats

from ..metrics import MILLI, UNITS, FrameErrors
from .tables import groups_of

Sums = np.ndarray
"""[..., 4]: number of values, sum of squares, of sizes, of values."""


def _rmse(sums: Sums) -> np.ndarray:
    return np.asarray(np.sqrt(sums[..., 1] / sums[..., 0]))


def _mae(sums: Sums) -> np.ndarray:
    return np.asarray(sums[..., 2] / sums[..., 0])


def _rmse_without_offset(sums: Sums) -> np.ndarray:
    mean = sums[..., 3] / sums[..., 0]
    return np.asarray(np.sqrt(np.maximum(sums[..., 1] / sums[..., 0] - mean**2, 0.0)))


MEASURES: dict[str, Callable[[Sums], np.ndarray]] = {
    "rmse": _rmse,
    "mae": _mae,
    "rmse_without_offset": _rmse_without_offset,
}
"""Functions of sums over frames; the last of energies alone."""


def compare(
    first: Sequence[FrameErrors], second: Sequence[FrameErrors], by: str | None = None, block: int = 1
) -> dict[str, Any]:
    """Both models' errors and their differences, second minus first, ready for JSON; milli units.

    `block`: successive frames that are left out together, for frames of a trajectory, which resemble their neighbours.
    """
    found: dict[str, Any] = {"units": UNITS, "n_frames": len(first), "block": block}
    found["errors"] = _compared(first, second, block)
    if by is not None:
        groups, others = groups_of(first, by), groups_of(second, by)
        found["by"] = by
        found["groups"] = {name: _compared(some, others[name], block) for name, some in groups.items()}
    return found


def _compared(first: Sequence[FrameErrors], second: Sequence[FrameErrors], block: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for quantity in UNITS:
        sums = np.stack([_sums(frames, quantity) for frames in (first, second)])
        if not sums.shape[1]:
            continue
        measures = [name for name in MEASURES if quantity == "energy" or name != "rmse_without_offset"]
        table[quantity] = {name: difference(sums, MEASURES[name], block) for name in measures}
    return table


def difference(sums: np.ndarray, measure: Callable[[Sums], np.ndarray], block: int = 1) -> dict[str, float | None]:
    """Of sums [2 models, frames, 4]: both values, second minus first, its standard error (None for one block)."""
    starts = np.arange(0, sums.shape[1], block)
    blocks = np.add.reduceat(sums, starts, axis=1)
    total = blocks.sum(axis=1)
    a, b = measure(total)
    error = None
    if len(starts) > 1:
        left = measure(total[:, None] - blocks)
        without = left[1] - left[0]
        n = len(starts)
        error = MILLI * float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
    found = {"a": float(a), "b": float(b), "difference": float(b - a)}
    return {name: MILLI * value for name, value in found.items()} | {"standard_error": error, "n_blocks": len(starts)}


def better(row: dict[str, float | None]) -> str:
    """'a' or 'b', where a `difference` says so with 95 % confidence (Student's t, for few blocks); '' where not."""
    value, error, n = row["difference"], row["standard_error"], row["n_blocks"]
    if value is None or error is None or n is None or abs(value) <= float(scipy.stats.t.ppf(0.975, n - 1)) * error:
        return ""
    return "b" if value < 0.0 else "a"


def _sums(frames: Sequence[FrameErrors], quantity: str) -> np.ndarray:
    """[frames that have the label, 4] of the mean over members."""
    rows = []
    for frame in frames:
        found = frame.deviations(quantity)
        if found is not None:
            mean = found.mean(axis=0)
            rows.append([len(mean), np.sum(mean**2), np.sum(np.abs(mean)), np.sum(mean)])
    return np.array(rows).reshape(-1, 4)
