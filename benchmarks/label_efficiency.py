"""How many labels a loop needs: explorers and acquisitions against random frames of the same dynamics, over seeds.

    OMP_NUM_THREADS=1 python benchmarks/label_efficiency.py study.yaml
    ... study.yaml --table          # of what is done

A study names a loop's config and what differs:

    directory: runs/labels
    config: examples/ethanol/loop.yaml      # its arms, or `arms` below, are compared within a run
    seeds: [1, 2, 3]
    reference: [md, random]                 # run and arm whose last error the others have to reach
    changes: {rounds: 4}                    # to the config, for all runs
    runs:                                   # changes on top, by name
      md: {}
      modes: {explorer: {kind: modes}}

Every run is a loop of its own, which goes on where it was ended. Printed are errors by round, and the labels beyond the
starting frames that an arm needs for the last error of the reference with the same seed, over those that the reference
needed: between rounds by interpolating ln(error) over the number of labels. Means over seeds, with their standard
errors; an arm that never comes there counts as all its labels, and is marked with >.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from mollifield_train.active.config import LoopConfig
from mollifield_train.active.loop import default_parts, run_loop
from mollifield_train.durable import read_json, write_json
from mollifield_train.section import validated

Values = dict[str, Any]


class Curve(NamedTuple):
    """Of one arm and seed."""

    labels: list[int]
    """New ones, after each round."""
    errors: list[float]
    """RMSE of forces on the test frames, eV/Å."""


def merged(values: Values, changes: Values) -> Values:
    """Sections key by key; one with another `kind` takes the place of the old one."""
    found = dict(values)
    for key, value in changes.items():
        old = found.get(key)
        both = isinstance(value, dict) and isinstance(old, dict) and value.get("kind") in (None, old.get("kind"))
        found[key] = merged(old, value) if both and key != "arms" else value  # type: ignore[arg-type]
    return found


def config_of(study: Values, run: str, seed: int) -> LoopConfig:
    """Of one loop."""
    base = yaml.safe_load(Path(study["config"]).read_text())
    values = merged(merged(base, study.get("changes", {})), study["runs"][run] or {})
    where = {"directory": str(Path(study["directory"]) / run / str(seed)), "seed": seed}
    return validated(LoopConfig, values | where, f"{study['config']}, run {run}")


def curves(directory: Path) -> dict[str, Curve]:
    """By arm; empty where the loop is not done."""
    path = directory / "rounds.json"
    found: dict[str, Curve] = {}
    for row in read_json(path) if path.exists() else []:
        curve = found.setdefault(row["arm"], Curve([], []))
        curve.labels.append(row["n_new"])
        curve.errors.append(row["force_rmse"])
    return found


def labels_for(curve: Curve, error: float) -> tuple[float, bool]:
    """New labels with which a curve first comes to `error`, and whether it does: else all that it had."""
    for k in range(1, len(curve.labels)):
        before, after = curve.errors[k - 1 : k + 1]
        if after <= error:
            part = 1.0 if before <= after else np.log(before / error) / np.log(before / after)
            return curve.labels[k - 1] + float(np.clip(part, 0.0, 1.0)) * (curve.labels[k] - curve.labels[k - 1]), True
    return float(curve.labels[-1]), False


def mean(values: list[float]) -> str:
    """With the standard error."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{error}"


def table(study: Values) -> str:
    """Markdown; a row for each run and arm."""
    found = {
        (run, seed): curves(config_of(study, run, seed).directory) for run in study["runs"] for seed in study["seeds"]
    }
    reference_run, reference_arm = study["reference"]
    lines = [f"| run, arm | seeds | force RMSE by round (meV/Å) | labels / those of {reference_run}, {reference_arm} |"]
    lines.append("|---|---|---|---|")
    for run in study["runs"]:
        for arm in {arm: None for seed in study["seeds"] for arm in found[run, seed]}:
            seeds = [seed for seed in study["seeds"] if arm in found[run, seed]]
            own = [found[run, seed][arm] for seed in seeds]
            by_round = list(zip(*(curve.errors for curve in own), strict=False))
            errors = "; ".join(mean([1000 * error for error in errors]) for errors in by_round)
            ratios, reached = [], True
            for seed, curve in zip(seeds, own, strict=True):
                reference = found[reference_run, seed].get(reference_arm)
                if reference is None:
                    continue
                n, came = labels_for(curve, reference.errors[-1])
                ratios.append(n / reference.labels[-1])
                reached = reached and came
            ratio = f"{'' if reached else '> '}{mean(ratios)}" if ratios else "-"
            lines.append(f"| {run}, {arm} | {len(seeds)} | {errors} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, print the table, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    study: Values = yaml.safe_load(options.study.read_text())
    if not options.table:
        for seed in study["seeds"]:
            for run in study["runs"]:
                config = config_of(study, run, seed)
                config.directory.parent.mkdir(parents=True, exist_ok=True)
                run_loop(config, False, default_parts)
    print(table(study))
    results = {
        f"{run}/{seed}": {arm: curve._asdict() for arm, curve in curves(config_of(study, run, seed).directory).items()}
        for run in study["runs"]
        for seed in study["seeds"]
    }
    write_json(Path(study["directory"]) / "results.json", results)
    print(json.dumps({"written": str(Path(study["directory"]) / "results.json")}))


if __name__ == "__main__":
    main()
