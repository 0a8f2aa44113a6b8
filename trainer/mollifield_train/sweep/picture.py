"""Error against cost, a point for each trial."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..durable import replacing
from .table import Outcome, pareto_front


def draw(trials: Sequence[Outcome], path: Path) -> None:
    """Write a PNG: finished trials by number, those on the front in colour and joined. Nothing where there are none."""
    finished, front = [trial for trial in trials if trial.finished], pareto_front(trials)
    if not finished:
        return
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([t.cost for t in finished], [t.error for t in finished], "o", color="tab:gray", label="trials")
    axes.plot([t.cost for t in front], [t.error for t in front], "o-", color="tab:blue", label="no other beats both")
    for trial in finished:
        axes.annotate(str(trial.number), (trial.cost, trial.error), textcoords="offset points", xytext=(5, 4))
    axes.set(xscale=_scale([t.cost for t in finished]), yscale=_scale([t.error for t in finished]))
    axes.set(xlabel="energy and forces, µs/atom", ylabel="validation force RMSE, meV/Å")
    axes.grid(which="both", alpha=0.3)
    axes.margins(0.15)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _scale(values: Sequence[float]) -> str:
    """A logarithmic axis of less than a decade has labels that overlap."""
    return "log" if max(values) > 10.0 * min(values) > 0.0 else "linear"
