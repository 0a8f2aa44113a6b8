"""What came of a sweep, trial by trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..metrics import key_of
from .folder import COST, ERRORS, MINUTES, REASON
from .spaces import Label

FORCES, ENERGY = key_of("forces", "rmse"), key_of("energy", "rmse")


@dataclass(frozen=True)
class Outcome:
    """One trial."""

    number: int
    values: Mapping[str, Label]
    """Of the keys that are varied."""
    result: Mapping[str, Any] | None
    """As `folder.write_result` had it; None: still to come."""
    on_front: bool = False
    """No other is better in error and cost, or as good in one and better in the other."""

    @property
    def finished(self) -> bool:
        """With errors."""
        return self.result is not None and REASON not in self.result

    @property
    def error(self) -> float:
        """Force RMSE on the validation frames, meV/Å; infinite where there is none."""
        return float(self.result[ERRORS][FORCES]) if self.result is not None and self.finished else float("inf")

    @property
    def cost(self) -> float:
        """µs/atom of an evaluation, likewise."""
        return float(self.result[COST]) if self.result is not None and self.finished else float("inf")


def outcomes(trials: Mapping[int, Mapping[str, Label]], results: Mapping[int, Any]) -> list[Outcome]:
    """Sorted by error, then cost; trials that failed or go on come last. `results` by number, None where missing."""
    found = [Outcome(number, values, results[number]) for number, values in trials.items()]
    front = {trial.number for trial in pareto_front(found)}
    marked = [Outcome(t.number, t.values, t.result, t.number in front) for t in found]
    return sorted(marked, key=lambda trial: (trial.error, trial.cost, trial.result is None, trial.number))


def pareto_front(trials: Sequence[Outcome]) -> list[Outcome]:
    """Finished trials than which none is better in error or cost without being worse in the other; by rising cost."""
    front: list[Outcome] = []
    for trial in sorted((t for t in trials if t.finished), key=lambda t: (t.cost, t.error)):
        if not front or trial.error < front[-1].error:
            front.append(trial)
    return front


def table(trials: Sequence[Outcome]) -> str:
    """Text with a line for each trial, in the order given; `*` marks the front, failures have their reason."""
    keys = list(trials[0].values) if trials else []
    head = ["", "trial", *keys, "forces meV/Å", "energy meV/atom", "µs/atom", "minutes"]
    rows = [_row(trial) for trial in trials]
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    for k, trial in enumerate(trials, start=1):
        if not trial.finished:
            reason = "not finished" if trial.result is None else f"failed: {' '.join(trial.result[REASON].split())}"
            lines[k] = f"{lines[k].rstrip()}  {reason}"
    return "\n".join(line.rstrip() for line in lines)


def as_json(trials: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The same for `results.json`: number, values, whether on the front, and the result (null: still to come)."""
    return [{"trial": t.number, "values": dict(t.values), "on_front": t.on_front, "result": t.result} for t in trials]


def _row(trial: Outcome) -> list[str]:
    cells = ["*" if trial.on_front else "", str(trial.number), *map(_shown, trial.values.values())]
    if trial.result is None or not trial.finished:
        return [*cells, "", "", "", ""]
    errors = trial.result[ERRORS]
    energy = f"{errors[ENERGY]:.3f}" if ENERGY in errors else "-"
    return [*cells, f"{trial.error:.2f}", energy, f"{trial.cost:.3g}", f"{trial.result[MINUTES]:.2f}"]


def _shown(label: Label) -> str:
    return f"{label:.4g}" if isinstance(label, float) else "null" if label is None else str(label)
