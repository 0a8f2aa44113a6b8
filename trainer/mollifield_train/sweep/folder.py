"""What lies where in a sweep's directory."""

import csv
from pathlib import Path
from typing import Any

from ..durable import read_json, write_json

RESULT_FILE = "result.json"
METRICS_FILE = "metrics.csv"
REASON, ERRORS, COST, MINUTES = "reason", "errors", "us_per_atom", "minutes"
"""Keys of a result: the reason alone where a trial failed; else errors on the validation frames (`metrics`), the cost
of an evaluation and minutes of training."""


class SweepDirectory:
    """`sweep.json` (the config), `study.db` (the optimiser's), `cost.xyz` (the frame that the cost is measured on),
    `results.json`, `sweep.png`, and a folder for each trial: that of a training run, with a `result.json`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "sweep.json"
        self.database = self.path / "study.db"
        self.cost_frame = self.path / "cost.xyz"
        self.results_file = self.path / "results.json"
        self.picture = self.path / "sweep.png"
        self.lock = self.path / "lock"

    def trial(self, number: int) -> Path:
        """The folder of one."""
        return self.path / "trials" / str(number)

    def result(self, number: int) -> dict[str, Any] | None:
        """What came of a trial; None: not at its end."""
        return read_result(self.trial(number))

    def epochs(self, number: int) -> list[dict[str, str]]:
        """Rows of a trial's metrics.csv so far (of its last member, where they are trained one by one)."""
        found = rows(self.trial(number))
        return found[-1] if found else []


def read_result(folder: Path) -> dict[str, Any] | None:
    """Of a trial's folder; None: not at its end."""
    path = folder / RESULT_FILE
    found: dict[str, Any] | None = read_json(path) if path.exists() else None
    return found


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Into a trial's folder, whole or not at all."""
    write_json(folder / RESULT_FILE, result)


def rows(folder: Path) -> list[list[dict[str, str]]]:
    """Rows of the metrics.csv of a run, or of each of its members that is trained by itself."""
    files = [folder / METRICS_FILE, *sorted(folder.glob(f"members/*/{METRICS_FILE}"))]
    return [list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) for path in files if path.is_file()]
