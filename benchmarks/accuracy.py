"""Errors after equal minutes of training: variants of a config, data sets, seeds.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/accuracy.py study.yaml

A study names files, not frames:

    directory: runs/accuracy
    minutes: 15
    seeds: [0, 1, 2]
    sets:
      acid: {train: 300K.xyz, tests: {300 K: test-300K.xyz, 600 K: test-600K.xyz}}
    variants:                       # sections of a training config, on top of its defaults
      squares: {model: {correlation: 2}, loss: {mollifier: null}}
      lengths: {model: {correlation: 2}, loss: {mollifier: null, measure: lengths}}

Each piece (set, variant, seed) is trained for that long and judged on the tests; it is kept in a folder of its own, so
that a study that was ended goes on where it was, and may be run by several processes at once, which share the pieces.
Time is wall time: leave the machine alone, and give each process a core. The table has the mean over seeds and their
range; force errors in meV/Å, energy errors in meV/atom, root mean squares.
"""

import argparse
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from mollifield_train.config import TrainConfig, validated
from mollifield_train.evaluate import evaluate_file
from mollifield_train.metrics import error_summary, key_of
from mollifield_train.training.run import train

QUANTITIES = {quantity: key_of(quantity, "rmse") for quantity in ("forces", "energy")}


class Piece(NamedTuple):
    """One training of a study."""

    data: str
    variant: str
    seed: int

    def folder(self, study: dict[str, Any]) -> Path:
        """Where it is kept."""
        return Path(study["directory"]) / self.data / self.variant / str(self.seed)


def main() -> None:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="YAML file")
    study = yaml.safe_load(parser.parse_args().study.read_text())
    for piece in pieces(study):
        folder = piece.folder(study)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # another process is at it
            if not (folder / "errors.json").exists():
                errors = errors_of(piece, study)
                (folder / "errors.json").write_text(json.dumps(errors, indent=1))
    print_table(study)


def pieces(study: dict[str, Any]) -> Iterator[Piece]:
    """Seed by seed, so that a study that is ended early has all variants alike."""
    for seed in study["seeds"]:
        for data in study["sets"]:
            for variant in study["variants"]:
                yield Piece(data, variant, seed)


def errors_of(piece: Piece, study: dict[str, Any]) -> dict[str, Any]:
    """Train, or go on, and evaluate: a summary for each test."""
    files, variant = study["sets"][piece.data], study["variants"][piece.variant]
    own = {
        "seed": piece.seed,
        "directory": str(piece.folder(study) / "run"),
        "data": {"train": files["train"]} | variant.get("data", {}),
        "committee": {"n_members": 1} | variant.get("committee", {}),
        "optimiser": {"minutes": study["minutes"]} | variant.get("optimiser", {}),
    }
    config = validated(TrainConfig, variant | own, f"{piece.variant} of the study")
    result = train(config, resume=True)
    model = result.directory / "model.pt"
    tests = {name: error_summary(evaluate_file(model, path)) for name, path in files["tests"].items()}
    return {"epochs": result.metrics["epochs"], "train": result.metrics["train"], "tests": tests}


def print_table(study: dict[str, Any]) -> None:
    """A row for each set, test and quantity; a column for each variant."""
    variants = list(study["variants"])
    print(f"{study['minutes']:g} minutes, seeds {study['seeds']}; mean over seeds, and their range")
    print(f"{'set':<10}{'test':<12}{'':<8}" + "".join(f"{name:>28}" for name in variants))
    for data, files in study["sets"].items():
        for test in files["tests"]:
            for quantity, key in QUANTITIES.items():
                cells = [cell(study, data, variant, test, key) for variant in variants]
                print(f"{data:<10}{test:<12}{quantity:<8}" + "".join(f"{text:>28}" for text in cells))


def cell(study: dict[str, Any], data: str, variant: str, test: str, key: str) -> str:
    """'41.2 (39.9 to 43.0)', of the seeds that are done."""
    files = [Piece(data, variant, seed).folder(study) / "errors.json" for seed in study["seeds"]]
    found = [json.loads(file.read_text())["tests"][test][key] for file in files if file.exists()]
    if not found:
        return "missing"
    missing = "" if len(found) == len(files) else f", {len(files) - len(found)} missing"
    return f"{np.mean(found):.3g} ({min(found):.3g} to {max(found):.3g}{missing})"


if __name__ == "__main__":
    main()
