"""What `mollifier.py` measures of a trained model: errors, its training curve, smoothness, dynamics, loss entropy."""

import json
from functools import cache
from typing import Any

import ase.io
import landscape
import numpy as np
import surface
import torch
from scipy.stats import spearmanr

from mollifield_train.config import TrainConfig
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import Frame, read_frames
from mollifield_train.evaluate import committee_errors
from mollifield_train.metrics import FrameErrors, error_summary, key_of
from mollifield_train.model.protocol import Potential
from mollifield_train.oracle import CALCULATORS, make_calculator
from mollifield_train.predict import predict

CPU = torch.device("cpu")
Values = dict[str, Any]


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
    around = logs - np.polyval(np.polyfit(epochs, logs, min(1, len(logs) - 1)), epochs)
    return {"oscillation": float(logs.std()), "about_trend": float(around.std()), "gap": float(gap)}


def of_model(
    model: Potential, history: list[dict[str, float]], config: TrainConfig, given: Values, study: Values
) -> Values:
    """All of a trained model, with the rows of its metrics and a set of the study."""
    tests = {name: judged(model, read_frames(path)) for name, path in given["tests"].items()}
    starts = [atoms for atoms in ase.io.read(next(iter(given["tests"].values())), ":") if len(atoms) > 1]
    found = {"tests": tests, "curve": curve(history), "landscape": of_landscape(model, config, study)}
    found |= {"surface": of_surface(model, starts, given, study)}
    return found | ({"dynamics": of_dynamics(model, starts, study["dynamics"])} if study["md"] else {})


def of_landscape(model: Potential, config: TrainConfig, study: Values) -> Values:
    """Loss entropy of the error of forces on training frames, over their RMS."""
    asked = study["landscape"]
    frames = [frame for frame in read_frames(config.data.train) if not frame.is_isolated_atom]
    chosen = [frames[k] for k in np.linspace(0, len(frames) - 1, min(asked["frames"], len(frames))).round().astype(int)]
    batch = collate(build_graphs(chosen, model.species, model.r_max))

    def error() -> float:
        return float((predict(model, batch).forces - batch.forces).square().mean().sqrt())

    parameters, scale = list(model.parameters()), float(batch.forces.square().mean().sqrt())
    entropy = landscape.loss_entropy(error, parameters, asked["lines"], asked["reach"], asked["points"], scale)
    return {"loss_entropy": entropy}


def of_surface(model: Potential, starts: list[ase.Atoms], given: Values, study: Values) -> Values:
    """Smoothness along lines and bond scans; where the oracle is at hand, errors on them too."""
    rng = np.random.default_rng(0)  # the same lines for all
    chosen = [starts[k] for k in np.linspace(0, len(starts) - 1, study["lines"]).round().astype(int)]
    paths = {
        "lines": surface.random_lines(chosen, rng, study["reach"], study["points"]),
        "bonds": surface.bond_scans(chosen, rng, 2.0 * study["reach"], study["points"]),
    }
    evaluate = surface.by_model(model)
    found: Values = {f"rough_{name}": surface.roughness(evaluate, path) for name, path in paths.items()}
    if "oracle" in given:
        oracle = oracle_of(json.dumps(given["oracle"]))
        for name, path in paths.items():
            found[f"true_{name}"] = surface.roughness(oracle, path)
            found[f"error_{name}"] = surface.force_error(evaluate, oracle, path)
    return found


@cache
def oracle_of(given: str) -> surface.Evaluate:
    """By its section in JSON. All pieces of a set ask it the same."""
    values = json.loads(given)
    section = CALCULATORS[values["kind"]].section
    return surface.remembered(surface.by_calculator(make_calculator(section.model_validate(values))))


def of_dynamics(model: Potential, starts: list[ase.Atoms], md: Values) -> Values:
    """At each temperature how many trajectories kept their bonds, for how long on average, and the drift of those."""
    found: Values = {}
    runs = [starts[k] for k in np.linspace(0, len(starts) - 1, md["starts"]).round().astype(int)]
    length = md["steps"] * md["timestep"] * 1e-3
    for temperature in md["temperatures"]:
        result = surface.dynamics(surface.by_model(model), runs, temperature, md["steps"], md["timestep"], seed=0)
        found[f"{temperature} K"] = {
            "survived": sum(when is None for when in result.failed_ps),
            # Of those that survive, the length: a lower bound.
            "failure_ps": float(np.mean([length if when is None else when for when in result.failed_ps])),
            "drift": result.drift,
        }
    return found
