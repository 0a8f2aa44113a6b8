"""A picture of a training that one looks at while it runs: loss, errors, learning rate, time left."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..durable import replacing
from ..metrics import key_of
from ..palette import COLOURS
from .run_directory import Row

PICTURE = "learning_curves.png"
SHARE = 0.01
"""Part of a run's time that drawing may take; the picture at the end of a run is not counted."""
FIRST_COST = 0.5
"""Seconds that the first picture is expected to take: nobody has measured yet."""
N_POINTS = 400
"""Epochs of a line, evenly spread; more are not seen."""
N_RECENT = 10
"""Epochs whose time says how long the next ones take."""
MEMBERS = (*COLOURS, "#6b6b6b")
"""Colours of fits."""
PANELS = (
    ("loss", "loss"),
    (key_of("energy", "rmse"), "energy RMSE (meV/atom)"),
    (key_of("forces", "rmse"), "force RMSE (meV/Å)"),
    (key_of("stress", "rmse"), "stress RMSE (meV/Å³)"),
)
"""Columns of metrics.csv, each for training and validation, and what they are."""


class LearningCurves:
    """The picture of a run of one or several fits, in its directory. Needs no display."""

    def __init__(
        self, directory: Path, names: Sequence[str], epochs: int | None, seconds: float | None, n_at_a_time: int = 1
    ) -> None:
        """`names` of the fits, each of `epochs`, or of `seconds`; `n_at_a_time` of them run side by side."""
        self.path = directory / PICTURE
        self._names = names
        self._epochs, self._seconds, self._n_at_a_time = epochs, seconds, n_at_a_time
        self._histories: list[Sequence[Row]] = [[] for _ in names]
        self._over = [False] * len(names)
        self._began = time.perf_counter()
        self._spent, self._cost = 0.0, FIRST_COST

    def epoch(self, fit: int, history: Sequence[Row]) -> None:
        """A fit has finished another epoch; draw, if that takes little of the time so far."""
        self._histories[fit] = history
        if self._spent + self._cost <= SHARE * (time.perf_counter() - self._began):
            self.draw()

    def over(self, fit: int) -> None:
        """A fit has come to its end, before its last epoch perhaps."""
        self._over[fit] = True

    def draw(self) -> None:
        """Write the picture."""
        if not any(self._histories):
            return
        began = time.perf_counter()
        with replacing(self.path) as temporary:
            _draw(temporary, dict(zip(self._names, self._histories, strict=True)), self.title)
        self._cost = time.perf_counter() - began
        self._spent += self._cost

    @property
    def title(self) -> str:
        """'epoch 12, 12, 11 of 200, 4 min so far, 61 min left'."""
        done = ", ".join(str(len(history)) for history in self._histories)
        total = f" of {self._epochs}" if self._epochs is not None else ""
        so_far = sum(row["seconds"] for history in self._histories for row in history) / self._n_at_a_time
        left = self.seconds_left
        rest = "over" if left == 0.0 else f"{_clock(left)} left"
        return f"epoch {done}{total}, {_clock(so_far)} so far, {rest}"

    @property
    def seconds_left(self) -> float:
        """Until the last fit has run its whole length, if the epochs to come take as long as the last ones."""
        recent = [row["seconds"] for history in self._histories for row in history[-N_RECENT:]]
        mean = float(np.mean(recent)) if recent else 0.0
        left = [
            0.0 if over else self._left(history, mean)
            for history, over in zip(self._histories, self._over, strict=True)
        ]
        return max(max(left), sum(left) / self._n_at_a_time)

    def _left(self, history: Sequence[Row], seconds_an_epoch: float) -> float:
        if self._seconds is not None:
            return max(0.0, self._seconds - sum(row["seconds"] for row in history))
        return max(0, (self._epochs or 0) - len(history)) * seconds_an_epoch


def _draw(path: Path, histories: dict[str, Sequence[Row]], title: str) -> None:
    from matplotlib.figure import Figure

    rows = [row for history in histories.values() for row in history]
    shown = [
        (key, label) for key, label in PANELS if any(f"train_{key}" in row or f"valid_{key}" in row for row in rows)
    ]
    n_columns = -(-(len(shown) + 1) // 2)
    figure = Figure(figsize=(4.2 * n_columns, 6.2))
    places = figure.subplots(2, n_columns).ravel()
    for axes, (key, label) in zip(places, shown, strict=False):
        for k, history in enumerate(histories.values()):
            for part, style in (("train", ":"), ("valid", "-")):
                _line(axes, history, f"{part}_{key}", style, MEMBERS[k % len(MEMBERS)])
        axes.set(yscale="log")
        axes.set_title(label, fontsize=9, loc="left")
    rate = places[len(shown)]
    for k, (name, history) in enumerate(histories.items()):
        _line(rate, history, "learning_rate", "-", MEMBERS[k % len(MEMBERS)], name)
    rate.set(yscale="log")
    rate.set_title("learning rate", fontsize=9, loc="left")
    rate.legend(frameon=False, fontsize=8)
    for axes in places[len(shown) + 1 :]:
        axes.set_axis_off()
    for axes in places:
        axes.tick_params(labelsize=8, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}; dotted: training, full: validation", x=0.02, ha="left", fontsize=10)
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.06, top=0.9, wspace=0.3, hspace=0.25)
    figure.savefig(path, dpi=100)


def _line(axes: Any, history: Sequence[Row], key: str, style: str, colour: str, name: str | None = None) -> None:
    """The values of a column that are positive and finite; with `name`, a line of the legend."""
    points = [(row["epoch"], row[key]) for row in history if 0.0 < row.get(key, 0.0) < np.inf]
    chosen = np.unique(np.linspace(0, len(points) - 1, min(N_POINTS, len(points))).round().astype(int))
    if len(chosen):
        x, y = np.array(points)[chosen].T
        axes.plot(x, y, style, color=colour, linewidth=1.0, marker="." if len(points) == 1 else None, label=name)


def _clock(seconds: float) -> str:
    """'45 s', '12 min' or '3 h 20 min'."""
    minutes = round(seconds / 60.0)
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
