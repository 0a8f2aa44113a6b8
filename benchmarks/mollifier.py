"""What the forms of the mollified term do: errors, training curves, smoothness and dynamics, of variants of a config.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/mollifier.py screen study.yaml
    ... confirm study.yaml          # more seeds of what is worth it
    ... slice study.yaml            # minutes: is everything in place?

A study names files; the rest has defaults in mollifier.yaml, which says what each key means:

    directory: runs/mollifier
    sets:
      acid:
        train: 300K.xyz
        tests: {300 K: test-300K.xyz, 600 K: test-600K.xyz}     # the first is "in distribution", the others "hot"
        frames: 50                                              # of train, evenly spaced; isolated atoms come on top
        oracle: {kind: tblite, method: GFN2-xTB}                # of the labels, where it is at hand

Each piece (set, variant, seed, and whether at equal time or equal steps) is trained and measured and kept in its own
folder, so that a study that was ended goes on where it was, and may be run by several processes at once. Equal time
is equal CPU time, whatever else the machine does: the seconds of a step are measured for each variant first, against
those of `none`, and epochs are given out accordingly. Prints tables, and writes results.json.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ase.io
import numpy as np
import surface
import torch
import yaml
from scipy.stats import spearmanr

from mollifield_train.config import TrainConfig, validated
from mollifield_train.data.batches import build_graphs
from mollifield_train.data.frames import Frame, read_frames
from mollifield_train.durable import claimed
from mollifield_train.evaluate import committee_errors
from mollifield_train.metrics import FrameErrors, error_summary, key_of
from mollifield_train.model.protocol import Potential
from mollifield_train.oracle import CALCULATORS, make_calculator
from mollifield_train.training.lightning_fit import fit_members
from mollifield_train.training.loading import load_data
from mollifield_train.training.members import build_potential
from mollifield_train.training.progress import quiet_lightning
from mollifield_train.training.run import refit_shifts
from mollifield_train.training.run_directory import FitFolder

NONE = "none"
"""The variant that all are compared with."""
CPU = torch.device("cpu")
Values = dict[str, Any]


class Piece(NamedTuple):
    """One training of a study."""

    data: str
    variant: str
    seed: int
    equal: str
    """'time' or 'steps': with `none` at the same seed."""

    def folder(self, study: Values) -> Path:
        """Where it is kept."""
        return Path(study["directory"]) / self.data / self.variant / f"{self.seed}-{self.equal}"


def main() -> None:
    """Train and measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("plan", choices=["slice", "screen", "confirm"])
    parser.add_argument("study", type=Path, help="YAML file")
    options = parser.parse_args()
    run(study_of(yaml.safe_load(options.study.read_text()), options.plan))


def study_of(given: Values, plan: str) -> Values:
    """A study with the defaults of mollifier.yaml, and those of its plan."""
    defaults = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    study = {key: value for key, value in defaults.items() if key != "plans"}
    study |= defaults["plans"][plan] | {key: value for key, value in given.items() if key != "plans"}
    study |= given.get("plans", {}).get(plan, {})
    unknown = [name for name in study["take"] if name not in study["variants"]]
    if unknown:
        raise ValueError(f"take: no variant '{unknown[0]}'; there are {', '.join(study['variants'])}")
    return study | {"plan": plan, "directory": str(Path(study["directory"]) / plan)}


def run(study: Values) -> Values:
    """All pieces that no other process is at; the results of all that are done."""
    for piece in pieces(study):
        folder = piece.folder(study)
        folder.mkdir(parents=True, exist_ok=True)
        with claimed(folder / "lock") as mine:
            if mine and not (folder / "piece.json").exists():
                (folder / "piece.json").write_text(json.dumps(measured(piece, study), indent=1))
    results = gathered(study)
    Path(study["directory"], "results.json").write_text(json.dumps(results, indent=1))
    print_tables(study, results)
    return results


def pieces(study: Values) -> Iterator[Piece]:
    """Seed by seed, so that a study that is ended early has all variants alike."""
    for seed in study["seeds"]:
        for equal in study["equal"]:
            for data in study["sets"]:
                for variant in study["take"]:
                    yield Piece(data, variant, seed, equal)


def config_of(piece: Piece, study: Values, epochs: int) -> TrainConfig:
    """Training config of a piece: the study's `config`, then the variant's sections, then what the piece says."""
    values: Values = {}
    for sections in (study["config"], with_prior(study["variants"][piece.variant], study["sets"][piece.data])):
        for name, content in sections.items():
            values[name] = values.get(name, {}) | content
    values |= {"seed": piece.seed, "directory": str(piece.folder(study) / "run")}
    values["data"] = values.get("data", {}) | {"train": str(frames_file(piece.data, study))}
    values["optimiser"] = values.get("optimiser", {}) | {"epochs": epochs}
    return validated(TrainConfig, values, f"{piece.variant} of the study")


def with_prior(values: Any, data: Values) -> Any:
    """A variant's sections with `prior: of_set` replaced by the set's `prior`."""
    if not isinstance(values, dict):
        return values
    filled = {key: with_prior(value, data) for key, value in values.items()}
    if filled.get("prior") == "of_set":
        filled["prior"] = data["prior"]
    return filled


def frames_file(data: str, study: Values) -> Path:
    """The training frames that a set is cut to, evenly spaced, and all isolated atoms."""
    given = study["sets"][data]
    path = Path(study["directory"]) / data / "train.xyz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        files = [given["train"]] if isinstance(given["train"], str) else given["train"]
        images = [atoms for file in files for atoms in ase.io.read(file, ":")]
        alone = [k for k, atoms in enumerate(images) if len(atoms) == 1]
        others = [k for k in range(len(images)) if k not in alone]
        n = min(given.get("frames", len(others)), len(others))
        kept = [others[k] for k in np.linspace(0, len(others) - 1, n).round().astype(int)]
        scratch = path.with_suffix(".part")
        ase.io.write(scratch, [images[k] for k in alone + kept], format="extxyz")
        scratch.rename(path)
    return path


def step_seconds(piece: Piece, study: Values) -> float:
    """CPU seconds of a step of this variant on this set: the difference between a longer and a shorter fit. Kept."""
    kept = Path(study["directory"]) / piece.data / piece.variant / "step.json"
    if not kept.exists():
        seconds, steps = [], []
        for epochs in study["timing_epochs"]:
            _, history, cpu = fitted(config_of(piece._replace(seed=0), study, epochs), None)
            seconds.append(cpu)
            steps.append(history[-1]["step"])
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps((seconds[1] - seconds[0]) / (steps[1] - steps[0])))
    found: float = json.loads(kept.read_text())
    return found


def fitted(config: TrainConfig, folder: Path | None) -> tuple[Potential, list[dict[str, float]], float]:
    """Best weights, history, and CPU seconds of the fit."""
    with tempfile.TemporaryDirectory() as scratch, quiet_lightning():
        data = load_data(config)
        n_members = config.committee.n_members
        model = build_potential(config, data.statistics, config.seed, n_members)
        place = FitFolder(folder or Path(scratch), {"config": config.model_dump(mode="json")} | data.provenance(), None)
        started = time.process_time()
        seeds = [config.seed + m for m in range(n_members)]
        best, history = fit_members(config, data, model, seeds, place, CPU, None)
        cpu = time.process_time() - started
    if data.statistics.shifts.fitted:
        found = committee_errors(best, data.training, 16, CPU)
        refit_shifts(best, data.training.frames, found, data.statistics.shifts.fitted)
    return best, history, cpu


def measured(piece: Piece, study: Values) -> Values:
    """Train a piece and measure it."""
    none = piece._replace(variant=NONE)
    ratio = step_seconds(piece, study) / step_seconds(none, study)
    epochs = study["epochs"] if piece.equal == "steps" else max(1, round(study["epochs"] / ratio))
    config = config_of(piece, study, epochs)
    model, history, cpu = fitted(config, piece.folder(study) / "run")
    given = study["sets"][piece.data]
    tests = {name: judged(model, read_frames(path)) for name, path in given["tests"].items()}
    found = {"epochs": epochs, "step_ratio": ratio, "cpu_seconds": cpu, "tests": tests, "curve": curve(history)}
    starts = [atoms for atoms in ase.io.read(next(iter(given["tests"].values())), ":") if len(atoms) > 1]
    return found | {"surface": of_surface(model, starts, given, study)}


def judged(model: Potential, frames: list[Frame]) -> Values:
    """RMSE of energies and forces on labelled frames, and how well the committee knows its errors."""
    graphs = build_graphs([frame for frame in frames if not frame.is_isolated_atom], model.species, model.r_max)
    errors = committee_errors(model, graphs, 16, CPU)
    summary = error_summary(errors)
    found = {name: summary.get(key_of(name, "rmse")) for name in ("forces", "energy")}
    return found | ({} if model.n_members < 2 else uncertainty_of(errors))


def uncertainty_of(errors: list[FrameErrors]) -> Values:
    """Of atoms: rank correlation of force std with length of the force error, and the RMS of error over std."""
    deviations = np.concatenate([np.asarray(found.forces - found.frame.forces) for found in errors], axis=1)
    lengths = np.linalg.norm(deviations.mean(axis=0), axis=1)
    stds = np.sqrt(deviations.var(axis=0, ddof=1).sum(axis=1))
    return {"rank": float(spearmanr(stds, lengths).statistic), "ratio": float(np.sqrt(np.mean((lengths / stds) ** 2)))}


def curve(history: list[dict[str, float]]) -> Values:
    """Of the last third of a fit: std of the logarithm of the validation loss about its trend, and of forces the
    logarithm of the validation error over the training error at the end."""
    last = history[-max(3, len(history) // 3) :]
    logs = np.log([row["valid_loss"] for row in last])
    epochs = np.arange(len(logs))
    key = key_of("forces", "rmse")
    gap = np.log(last[-1][f"valid_{key}"] / last[-1][f"train_{key}"])
    around = logs - np.polyval(np.polyfit(epochs, logs, 1), epochs)
    return {"oscillation": float(logs.std()), "about_trend": float(around.std()), "gap": float(gap)}


def of_surface(model: Potential, starts: list[ase.Atoms], given: Values, study: Values) -> Values:
    """Smoothness along lines and bond scans, dynamics; where the oracle is at hand, errors on the lines too."""
    rng = np.random.default_rng(0)  # the same lines for all
    chosen = [starts[k] for k in np.linspace(0, len(starts) - 1, study["lines"]).round().astype(int)]
    paths = {
        "lines": surface.random_lines(chosen, rng, study["reach"], study["points"]),
        "bonds": surface.bond_scans(chosen, rng, 2.0 * study["reach"], study["points"]),
    }
    evaluate = surface.by_model(model)
    found: Values = {f"rough_{name}": surface.roughness(evaluate, path) for name, path in paths.items()}
    if "oracle" in given:
        section = CALCULATORS[given["oracle"]["kind"]].section
        oracle = surface.by_calculator(make_calculator(section.model_validate(given["oracle"])))
        for name, path in paths.items():
            found[f"true_{name}"] = surface.roughness(oracle, path)
            found[f"error_{name}"] = surface.force_error(evaluate, oracle, path)
    md = study["dynamics"]
    for temperature in md["temperatures"] if md["steps"] else ():
        runs = [starts[k] for k in np.linspace(0, len(starts) - 1, md["starts"]).round().astype(int)]
        result = surface.dynamics(evaluate, runs, temperature, md["steps"], md["timestep"], seed=0)
        length = md["steps"] * md["timestep"] * 1e-3
        whole = [length if when is None else when for when in result.failed_ps]
        found[f"{temperature} K"] = {
            "survived": sum(when is None for when in result.failed_ps),
            "failure_ps": float(np.mean(whole)),  # of those that survive, the length: a lower bound
            "drift": result.drift,
        }
    return found


def gathered(study: Values) -> Values:
    """{set: {equal: {variant: [piece, ...]}}} of what is done."""
    results: Values = {}
    for piece in pieces(study):
        file = piece.folder(study) / "piece.json"
        if file.exists():
            by_variant = results.setdefault(piece.data, {}).setdefault(piece.equal, {})
            by_variant.setdefault(piece.variant, []).append({"seed": piece.seed} | json.loads(file.read_text()))
    return results


def print_tables(study: Values, results: Values) -> None:
    """One for each set and way of being equal: a row a variant, the mean over seeds and its standard error."""
    for data, ways in results.items():
        for equal, by_variant in ways.items():
            columns = columns_of(next(iter(by_variant.values()))[0])
            print(f"\n{data}, equal {equal}, seeds {study['seeds']}, {study['epochs']} epochs of '{NONE}'")
            width = 2 + max(len(name) for name in by_variant)
            print(" " * width + "".join(f"{name:>16}" for name in columns))
            for name, found in by_variant.items():
                cells = [cell([value_at(piece, path) for piece in found]) for path in columns.values()]
                print(f"{name:<{width}}" + "".join(f"{text:>16}" for text in cells))
            sensitive = sensitivity(by_variant, study)
            if sensitive:
                print("std of ln(force RMSE) over λ_F: " + ", ".join(f"{k} {v:.3f}" for k, v in sensitive.items()))


def columns_of(piece: Values) -> dict[str, tuple[str, ...]]:
    """Title of a column: where its number lies in a piece."""
    columns: dict[str, tuple[str, ...]] = {"cost": ("step_ratio",)}
    for test in piece["tests"]:
        columns |= {f"F {test}": ("tests", test, "forces"), f"E {test}": ("tests", test, "energy")}
        columns |= {f"{key} {test}": ("tests", test, key) for key in ("rank", "ratio") if key in piece["tests"][test]}
    columns |= {name: ("curve", name) for name in ("oscillation", "gap")}
    for name, value in piece["surface"].items():
        inner = ("survived", "drift") if isinstance(value, dict) else ()
        columns |= {f"{key} {name}": ("surface", name, key) for key in inner} or {name: ("surface", name)}
    return columns


def value_at(piece: Values, path: tuple[str, ...]) -> float | None:
    """A number of a piece."""
    value: Any = piece
    for key in path:
        value = value[key]
    return value


def cell(values: list[float | None]) -> str:
    """'41.2 ± 0.9': mean and standard error over seeds; '41.2' of one."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    error = f" ± {np.std(known, ddof=1) / np.sqrt(len(known)):.2g}" if len(known) > 1 else ""
    return f"{np.mean(known):.3g}{error}"


def sensitivity(by_variant: Values, study: Values) -> dict[str, float]:
    """For variants that differ in λ_F alone ('none', 'none F10', ...): how much the first test's error does."""
    families: dict[str, list[float]] = {}
    for name, found in by_variant.items():
        family, _, scaled = name.partition(" F")
        errors = [next(iter(piece["tests"].values()))["forces"] for piece in found]
        if scaled or f"{family} F" in " ".join(study["take"]):
            families.setdefault(family, []).append(float(np.mean(np.log(errors))))
    return {family: float(np.std(logs, ddof=1)) for family, logs in families.items() if len(logs) > 1}


if __name__ == "__main__":
    main()
