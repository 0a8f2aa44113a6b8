"""Errors after equal minutes of training: variants of a config, other programs, data sets, seeds.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/accuracy.py study.yaml

A study names files, not frames (`accuracy_study.yaml` is one):

    directory: runs/accuracy
    minutes: 15
    seeds: [0, 1, 2]
    sets:
      acid: {train: 300K.xyz, tests: {300 K: test-300K.xyz, 600 K: test-600K.xyz}}
    variants:                       # sections of a training config, on top of its defaults
      squares: {model: {correlation: 2}, loss: {mollifier: null}}
      lengths: {model: {correlation: 2}, loss: {mollifier: null, measure: lengths}}
    peers:                          # other programs, each in an environment of its own
      mace: {python: ~/envs/mace/bin/python}

Paths are relative to the working directory. A set may also have `isolated`, a file of isolated atoms for those peers
that ask for them, `cost`, a frame on which to measure the time of an evaluation, and `only`, the columns it is for.

A peer is a script, `accuracy_<name>.py` beside this one unless it says `script`, which is called by its `python` with
the file of a piece (`accuracy_peer.Piece`) and writes `errors.json`; `settings` go to it as they are, and `seeds` may
be fewer than the study's. What each is trained with, its script says.

Each piece (set, variant or peer, seed) is trained for that long and judged on the tests; it is kept in a folder of its
own, so that a study that was ended goes on where it was (a peer's piece begins again), and may be run by several
processes at once, which share the pieces. `--only` runs some columns. Time is CPU time, of one thread: give each
process a core. The table has the mean over seeds and their range; force errors in meV/Å, energy errors in meV/atom,
root mean squares; CPU minutes of the training (of ours with what is around it, and of the last process where it was
ended in between); and CPU microseconds an atom of an evaluation where they were measured.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from accuracy_peer import CpuClock, cost
from accuracy_peer import Piece as PeerPiece
from pydantic import PositiveFloat

from mollifield_train.config import TrainConfig, validated
from mollifield_train.durable import claimed, read_json, write_json
from mollifield_train.evaluate import evaluate_file
from mollifield_train.metrics import error_summary, key_of
from mollifield_train.section import Section
from mollifield_train.sweep.cost import evaluation
from mollifield_train.training.run import train
from mollifield_train.training.schedules import Clock

QUANTITIES = {quantity: key_of(quantity, "rmse") for quantity in ("forces", "energy")}
OF_A_TRAINING = {"CPU minutes": "cpu_minutes", "CPU µs/atom": "us_per_atom"}
"""Rows that a set has once, where there is something to say."""
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    "1",
)


class DataSet(Section):
    """Files of a set."""

    train: Path
    """Labelled frames."""
    tests: dict[str, Path]
    """Labelled frames to be judged on, by name."""
    isolated: Path | None = None
    """Isolated atoms, for the peers that ask for them."""
    cost: Path | None = None
    """A frame on which to measure the time of an evaluation."""
    only: list[str] | None = None
    """Variants and peers that are trained on it; all of them unless it says so."""


class Peer(Section):
    """Another program."""

    python: Path
    """The interpreter of its environment."""
    script: Path | None = None
    """`accuracy_<name>.py` beside this file where nothing is said."""
    settings: dict[str, Any] = {}
    """For the script."""
    seeds: list[int] | None = None
    """In place of the study's."""


class Study(Section):
    """The file."""

    directory: Path
    """Where the pieces are kept."""
    minutes: PositiveFloat
    """CPU time of a training."""
    seeds: list[int]
    """Of weights and splits."""
    cost_seconds: PositiveFloat = 10.0
    """CPU time that is spent on measuring what an atom costs."""
    sets: dict[str, DataSet]
    """By name."""
    variants: dict[str, dict[str, Any]] = {}
    """Sections of a training config."""
    peers: dict[str, Peer] = {}
    """By name."""

    def columns(self, data: str | None = None) -> list[str]:
        """Names of variants and peers, of one set or of all."""
        only = self.sets[data].only if data is not None else None
        return [name for name in [*self.variants, *self.peers] if only is None or name in only]

    def seeds_of(self, column: str) -> list[int]:
        """The study's, or the peer's own."""
        own = self.peers[column].seeds if column in self.peers else None
        return self.seeds if own is None else own


class Piece(NamedTuple):
    """One training of a study."""

    data: str
    column: str
    seed: int

    def folder(self, study: Study) -> Path:
        """Where it is kept."""
        return study.directory / self.data / self.column / str(self.seed)

    def errors(self, study: Study) -> dict[str, Any] | None:
        """What was found; None where it is missing."""
        file = self.folder(study) / "errors.json"
        return read_json(file) if file.exists() else None


def main() -> None:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="YAML file")
    parser.add_argument("--only", nargs="+", default=[], help="train these variants and peers; the table has all")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    study = read_study(options.study)
    known_columns(options.only, study, "--only")
    Clock.now = staticmethod(time.process_time)
    for piece in pieces(study):
        if not options.table and (not options.only or piece.column in options.only):
            complete(piece, study)
    print_table(study)


def read_study(file: Path) -> Study:
    """Checked."""
    study = validated(Study, yaml.safe_load(file.read_text()), str(file))
    both = sorted(set(study.variants) & set(study.peers))
    if both:
        raise ValueError(f"{file}: {both} are names of variants and of peers")
    for name, data in study.sets.items():
        known_columns(data.only or [], study, f"{file}: 'sets.{name}.only'")
    return study


def known_columns(names: list[str], study: Study, source: str) -> None:
    """Raises ValueError for a name that is neither a variant's nor a peer's."""
    unknown = [name for name in names if name not in study.columns()]
    if unknown:
        raise ValueError(f"{source}: no variant or peer {unknown[0]!r}; there are {', '.join(study.columns())}")


def complete(piece: Piece, study: Study) -> None:
    """Train and judge, unless that is done or another process is at it."""
    folder = piece.folder(study)
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder / "lock") as mine:
        if not mine or piece.errors(study) is not None:
            return
        if piece.column in study.peers:
            run_peer(piece, study)
        else:
            write_json(folder / "errors.json", errors_of(piece, study))


def pieces(study: Study) -> Iterator[Piece]:
    """Seed by seed, so that a study that is ended early has all columns alike."""
    seeds = {column: study.seeds_of(column) for column in study.columns()}
    for seed in dict.fromkeys(seed for own in seeds.values() for seed in own):
        for data in study.sets:
            for column in study.columns(data):
                if seed in seeds[column]:
                    yield Piece(data, column, seed)


def errors_of(piece: Piece, study: Study) -> dict[str, Any]:
    """Train, or go on, and evaluate: a summary for each test."""
    data, variant = study.sets[piece.data], study.variants[piece.column]
    own = {
        "seed": piece.seed,
        "directory": str(piece.folder(study) / "run"),
        "data": {"train": str(data.train)} | variant.get("data", {}),
        "committee": {"n_members": 1} | variant.get("committee", {}),
        "optimiser": {"minutes": study.minutes} | variant.get("optimiser", {}),
    }
    config = validated(TrainConfig, variant | own, f"{piece.column} of the study")
    clock = CpuClock(study.minutes)
    result = train(config, resume=True)
    found: dict[str, Any] = {"cpu_minutes": clock.seconds / 60.0}
    found |= {key: result.metrics[key] for key in ("epochs", "train")}
    model = result.directory / "model.pt"
    found["tests"] = {name: error_summary(evaluate_file(model, path)) for name, path in data.tests.items()}
    if data.cost is not None:
        found["us_per_atom"] = own_cost(model, data.cost, study.cost_seconds)
    return found


def own_cost(model: Path, frame: Path, seconds: float) -> float:
    """CPU microseconds an atom, neighbours at hand."""
    call, n_atoms, _ = evaluation(model, frame)
    return cost(call, n_atoms, seconds)


def run_peer(piece: Piece, study: Study) -> None:
    """Call its script, whose words go to `log`; says so where it fails, and the table has a gap."""
    peer, data, folder = study.peers[piece.column], study.sets[piece.data], piece.folder(study).absolute()
    asked = PeerPiece(
        train=str(data.train.absolute()),
        isolated=None if data.isolated is None else str(data.isolated.absolute()),
        tests={name: str(path.absolute()) for name, path in data.tests.items()},
        cost=None if data.cost is None else str(data.cost.absolute()),
        cost_seconds=study.cost_seconds,
        minutes=study.minutes,
        seed=piece.seed,
        folder=str(folder),
        settings=peer.settings,
    )
    write_json(folder / "piece.json", asked._asdict())
    script = peer.script or Path(__file__).with_name(f"accuracy_{piece.column}.py")
    command = [str(peer.python.expanduser().absolute()), str(script.absolute()), str(folder / "piece.json")]
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(Path(__file__).parent)}
    with open(folder / "log", "a") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env=environment)
    if piece.errors(study) is None:
        print(
            f"{piece.data}, {piece.column}: ended with {done.returncode} and no errors.json; see {folder / 'log'}",
            file=sys.stderr,
        )


def print_table(study: Study) -> None:
    """A row for each set, test and quantity; a column for each variant and peer."""
    columns = study.columns()
    print(f"{study.minutes:g} CPU minutes, seeds {study.seeds}; mean over seeds, and their range")
    print(f"{'set':<10}{'test':<12}{'':<12}" + "".join(f"{name:>28}" for name in columns))
    for data, files in study.sets.items():
        rows = [(test, name, ("tests", test, key)) for test in files.tests for name, key in QUANTITIES.items()]
        rows += [("", name, (key,)) for name, key in OF_A_TRAINING.items()]
        for test, name, keys in rows:
            cells = [cell(study, data, column, keys) for column in columns]
            if test or any(cells):
                print(f"{data:<10}{test:<12}{name:<12}" + "".join(f"{text:>28}" for text in cells))


def cell(study: Study, data: str, column: str, keys: tuple[str, ...]) -> str:
    """'41.2 (39.9 to 43.0)', of the seeds that are done; nothing where there is nothing to say."""
    if column not in study.columns(data):
        return ""
    all_seeds = [Piece(data, column, seed).errors(study) for seed in study.seeds_of(column)]
    done = [errors for errors in all_seeds if errors is not None]
    if not done:
        return "missing" if keys[0] == "tests" else ""
    found = [value for errors in done if (value := at(errors, keys)) is not None]
    if not found:
        return ""
    missing = "" if len(done) == len(all_seeds) else f", {len(all_seeds) - len(done)} missing"
    spread = f" ({min(found):.3g} to {max(found):.3g}{missing})" if len(all_seeds) > 1 else ""
    return f"{np.mean(found):.3g}{spread}"


def at(errors: Any, keys: tuple[str, ...]) -> float | None:
    """What lies at a path of keys; None where nothing does."""
    for key in keys:
        errors = errors.get(key, {})
    return errors if isinstance(errors, (int, float)) else None


if __name__ == "__main__":
    main()
