"""What the forms of the mollified term do: errors, training curves, smoothness and dynamics, of variants of a config.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/mollifier.py screen study.yaml
    ... confirm study.yaml          # more seeds of what is worth it
    ... slice study.yaml            # minutes: is everything in place?
    ... screen study.yaml --table   # of what is done

A study names files; the rest has defaults in mollifier.yaml, which says what each key means:

    directory: runs/mollifier
    sets:
      acid:
        train: 300K.xyz
        tests: {300 K: test-300K.xyz, 600 K: test-600K.xyz}     # the first is "in distribution", the others "hot"
        frames: 50                                              # of train, evenly spaced; isolated atoms come on top
        valid: 20                                               # further ones, for validation; else a part of those
        oracle: {kind: tblite, method: GFN2-xTB}                # of the labels, where it is at hand
        prior: {kind: tblite, method: GFN1-xTB}                 # of the variants that name one

Each piece (set, variant, seed, and what is equal) is trained and measured and kept in its own
folder, so that a study that was ended goes on where it was, in the middle of a training too, and may be run by several
processes at once, which share the pieces. Equal time is equal CPU time of the training, by the process's clock,
whatever else the machine does; equal steps are the epochs that `none` had in that time. Equal cost is equal time on a
machine whose other work makes CPU time uneven: those epochs over the variant's `costs`, the time of its steps over that
of `none`'s as `mollifier_cost.py` measures them side by side. A training that fails is a result, and is named below the
tables. Prints them, and writes results.json.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ase.io
import mollifier_measures as measures
import mollifier_tables as tables
import numpy as np
import yaml

from mollifield_train.config import TrainConfig, validated
from mollifield_train.durable import claimed, read_json, replacing, write_json
from mollifield_train.tensor_file import read_tensors
from mollifield_train.training.run import train
from mollifield_train.training.run_directory import LAST_CHECKPOINT, METRICS_FILE
from mollifield_train.training.schedules import Clock

NONE = "none"
"""The variant that all are compared with."""
Values = dict[str, Any]


class Piece(NamedTuple):
    """One training of a study."""

    data: str
    variant: str
    seed: int
    equal: str
    """'time', 'steps' or 'cost': with `none` at the same seed, which is one piece for all."""

    def folder(self, study: Values) -> Path:
        """Where it is kept."""
        way = "time" if self.variant == NONE else self.equal
        return Path(study["directory"]) / self.data / self.variant / f"{self.seed}-{way}"

    def found(self, study: Values) -> Values | None:
        """What was measured; None where it is missing."""
        file = self.folder(study) / "piece.json"
        return read_json(file) if file.exists() else None


def main() -> None:
    """Train and measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("plan", choices=["slice", "screen", "confirm"])
    parser.add_argument("study", type=Path, help="YAML file")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    study = study_of(yaml.safe_load(options.study.read_text()), options.plan)
    Clock.now = staticmethod(time.process_time)
    run(study, only_table=options.table)


def study_of(given: Values, plan: str) -> Values:
    """A study with the defaults of mollifier.yaml, and those of its plan; its own `variants` are further ones."""
    defaults = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    study = {key: value for key, value in defaults.items() if key != "plans"}
    study |= defaults["plans"][plan] | {key: value for key, value in given.items() if key != "plans"}
    study |= given.get("plans", {}).get(plan, {})
    study["variants"] = defaults["variants"] | study["variants"]
    unknown = [name for name in study["take"] if name not in study["variants"]]
    if unknown:
        raise ValueError(f"take: no variant '{unknown[0]}'; there are {', '.join(study['variants'])}")
    counted = [way for way in study["equal"] if way != "time"]
    if NONE not in study["take"] and counted:
        raise ValueError(f"take: '{NONE}' is not there, which 'equal: [{counted[0]}]' counts the epochs of")
    unpriced = [name for name in study["take"] if name not in {NONE, *study["costs"]}]
    if "cost" in counted and unpriced:
        raise ValueError(f"costs: '{unpriced[0]}' is not there, which 'equal: [cost]' asks for")
    return study | {"plan": plan, "directory": str(Path(study["directory"]) / plan)}


def run(study: Values, only_table: bool = False) -> Values:
    """All pieces that no other process is at; the results of all that are done."""
    while not only_table and any(complete(piece, study) for piece in pieces(study)):
        pass  # again, for what could not begin before another process had `none`
    results = gathered(study)
    write_json(Path(study["directory"], "results.json"), results)
    tables.print_tables(study, results)
    return results


def complete(piece: Piece, study: Values) -> bool:
    """Whether there was something to do, and it has been done."""
    folder = piece.folder(study)
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder / "lock") as mine:
        epochs = epochs_of(piece, study)
        if not mine or piece.found(study) is not None or epochs == 0:
            return False
        write_json(folder / "piece.json", measured(piece, study, epochs))
        return True


def pieces(study: Values) -> Iterator[Piece]:
    """Seed by seed, so that a study that is ended early has all variants alike."""
    for seed in study["seeds"]:
        for equal in study["equal"]:
            for data in study["sets"]:
                for variant in study["take"]:
                    yield Piece(data, variant, seed, equal)


def epochs_of(piece: Piece, study: Values) -> int | None:
    """Of a piece at equal steps, 0 where they are not known yet; None at equal time."""
    if piece.equal == "time" or piece.variant == NONE:
        return None
    none = piece._replace(variant=NONE).found(study)
    cost = study["costs"][piece.variant] if piece.equal == "cost" else 1.0
    return 0 if none is None else round(none.get("epochs", 0) / cost)


def config_of(piece: Piece, study: Values, epochs: int | None) -> TrainConfig:
    """Training config of a piece: the study's `config`, then the variant's sections, then what the piece says."""
    given = study["sets"][piece.data]
    values: Values = {}
    for sections in (study["config"], with_prior(study["variants"][piece.variant], given)):
        for name, content in sections.items():
            values[name] = values.get(name, {}) | content if isinstance(content, dict) else content
    values |= {"seed": piece.seed, "directory": str(piece.folder(study) / "run")}
    values["data"] = values.get("data", {}) | frames_files(piece.data, study)
    length = {"minutes": study["minutes"]} if epochs is None else {"epochs": epochs}
    values["optimiser"] = values.get("optimiser", {}) | length
    return validated(TrainConfig, values, f"{piece.variant} of the study")


def with_prior(values: Any, data: Values) -> Any:
    """A variant's sections with `prior: of_set` replaced by the set's `prior`."""
    if not isinstance(values, dict):
        return values
    filled = {key: with_prior(value, data) for key, value in values.items()}
    if filled.get("prior") == "of_set":
        filled["prior"] = data["prior"]
    return filled


def frames_files(data: str, study: Values) -> dict[str, str]:
    """Training frames that a set is cut to, evenly spaced, and all isolated atoms; frames of `valid` between them."""
    given, folder = study["sets"][data], Path(study["directory"]) / data
    paths = {name: folder / f"{name}.xyz" for name in ("train", "valid") if name == "train" or given.get("valid")}
    if not all(path.exists() for path in paths.values()):
        files = [given["train"]] if isinstance(given["train"], str) else given["train"]
        images = [atoms for file in files for atoms in ase.io.read(file, ":")]
        alone = [k for k, atoms in enumerate(images) if len(atoms) == 1]
        others = [k for k in range(len(images)) if k not in alone]
        kept = spread(others, given.get("frames", len(others)))
        chosen = {"train": alone + kept, "valid": spread([k for k in others if k not in kept], given.get("valid", 0))}
        for name, path in paths.items():
            with replacing(path) as scratch:
                ase.io.write(scratch, [images[k] for k in chosen[name]], format="extxyz")
    return {name: str(path) for name, path in paths.items()}


def spread(items: list[int], n: int) -> list[int]:
    """At most `n` of them, evenly spaced."""
    return [items[k] for k in np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int)]


def measured(piece: Piece, study: Values, epochs: int | None) -> Values:
    """Train a piece, or go on with it, and measure it; of a training that fails, why."""
    config = config_of(piece, study, epochs)
    try:
        result = train(config, resume=True, progress=False, report=lambda note: None)
    except ValueError as error:
        return {"failed": str(error)}
    with open(result.directory / METRICS_FILE, newline="", encoding="utf-8") as file:
        history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    fit = read_tensors(result.directory / LAST_CHECKPOINT)
    cost = {"epochs": fit["epoch"], "cpu_seconds": fit["seconds"], "step_ms": 1e3 * fit["seconds"] / fit["steps"]}
    return cost | measures.of_model(result.model, history, config, study["sets"][piece.data], study)


def gathered(study: Values) -> Values:
    """{set: {equal: {variant: [piece, ...]}}} of what is done."""
    results: Values = {}
    for piece in pieces(study):
        found = piece.found(study)
        if found is not None:
            by_variant = results.setdefault(piece.data, {}).setdefault(piece.equal, {})
            by_variant.setdefault(piece.variant, []).append({"seed": piece.seed} | found)
    return results


if __name__ == "__main__":
    main()
