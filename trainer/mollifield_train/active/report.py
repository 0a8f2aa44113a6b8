"""One self-contained page about a run: tables and inline SVG, nothing to load."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np

from mollifield_train.active import figures
from mollifield_train.active.committee import LoadCommittee
from mollifield_train.active.config import LoopConfig
from mollifield_train.durable import read_json, replacing
from mollifield_train.active.rounds import Paths
from mollifield_train.active.store import LABELLED, TEST, Store

_N_PICTURES = 6
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #23272b; --soft: #667079; --page: #fbfbfa; --line: #dcdfe1; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #dfe2e4; --soft: #98a1a8; --page: #17191b; --line: #34393d; }} }}
body {{ margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }}
main {{ max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }}
h1 {{ font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }}
h2 {{ font-size: 1.15rem; margin: 2.75rem 0 .5rem; }}
p {{ margin: .5rem 0; }}
.lead {{ font-size: 1.05rem; }}
figure {{ margin: 1rem 0 0; }}
figure svg {{ display: block; width: 100%; height: auto; }}
figcaption, .note {{ color: var(--soft); font-size: .9rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }}
th, td {{ padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }}
th {{ color: var(--soft); font-weight: 500; vertical-align: bottom; }}
th:first-child, td:first-child {{ text-align: left; }}
</style></head><body><main>
{body}
</main></body></html>
"""


def write_report(
    config: LoopConfig, paths: Paths, metrics: list[dict[str, Any]], load_committee: LoadCommittee
) -> Path:
    """Write ``report.html`` into the directory of the run and return its path.

    Args:
        config: of the run.
        paths: of the run; all its rounds are finished.
        metrics: one row an arm and round, as ``loop.collect_metrics`` gives them.
        load_committee: opens the models, for the pictures of uncertain frames.
    """
    arm = config.arms[0]
    with np.load(paths.round(arm, config.rounds) / "predictions.npz") as stored:
        predictions = dict(stored)
    store = Store(paths.store)
    formula = store.frames(arm=TEST)[0].atoms.get_chemical_formula().translate(_SUBSCRIPTS)
    oracle = config.oracle.method if config.oracle.kind == "tblite" else config.oracle.kind
    title = f"Active learning of {formula} against {oracle}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="lead">{html.escape(summary(metrics))}</p>',
        "<h2>The rounds</h2>",
        _table(metrics),
        f'<p class="note">Errors and standard deviations on the same {config.test_set.n_frames} '
        f"test frames, drawn from dynamics with the reference method at "
        f"{config.test_set.temperature:g} K. Oracle calls are those spent on training frames; the "
        f"frames of round 0 came with their labels.</p>",
        _learning(metrics),
        _parity(predictions, arm, config),
        _reliability(predictions),
        _trajectories(config, paths, arm),
        _gallery(config, paths, store, arm, load_committee),
    ]
    path = paths.root / "report.html"
    with replacing(path) as temporary:
        page = _PAGE.format(title=html.escape(title), body="\n".join(body))
        temporary.write_text(page, encoding="utf-8")
    return path


def summary(metrics: list[dict[str, Any]]) -> str:
    """What came out, in one or two sentences, whoever won."""
    last = {row["arm"]: row for row in metrics}
    arm, row = next(iter(last.items()))
    first = next(row for row in metrics if row["arm"] == arm)
    text = (
        f"{row['n_frames'] - first['n_frames']} new labels brought the force error from "
        f"{1000 * first['force_rmse']:.0f} to {1000 * row['force_rmse']:.0f} meV/Å (RMSE)."
    )
    if "random" in last and arm != "random":
        other = last["random"]
        change = round(100 * (row["force_rmse"] / other["force_rmse"] - 1))
        verdict = "no better and no worse"
        if change:
            verdict = f"{abs(change)}% {'better' if change < 0 else 'worse'}"
        text += (
            f" The same number of frames drawn at random from the same kind of trajectory reached "
            f"{1000 * other['force_rmse']:.0f} meV/Å: choosing by uncertainty was {verdict} in this "
            "one run."
        )
    return text


def _table(metrics: list[dict[str, Any]]) -> str:
    head = [
        "Arm", "Round", "Frames", "Oracle calls", "Force RMSE (meV/Å)", "Energy RMSE (meV/atom)",
        "Mean force std (meV/Å)", "Largest force std (meV/Å)",
    ]  # fmt: skip
    rows = [
        [
            row["arm"], str(row["round"]), str(row["n_frames"]), str(row["oracle_calls"]),
            f"{1000 * row['force_rmse']:.1f}", f"{1000 * row['energy_rmse_per_atom']:.2f}",
            f"{1000 * row['mean_force_std']:.1f}", f"{1000 * row['max_force_std']:.0f}",
        ]
        for row in metrics
    ]  # fmt: skip
    cells = "".join(f"<th>{name}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{x}</td>" for x in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{cells}</tr>{lines}</table></div>'


def _figure(title: str, svg: str, caption: str) -> str:
    return f"<h2>{title}</h2><figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _learning(metrics: list[dict[str, Any]]) -> str:
    return _figure(
        "What the labels bought",
        figures.learning_curve(metrics),
        "Root-mean-square error of a force component on the test frames. Both arms start from the "
        "same model and are retrained in the same way; they differ in which frames were labelled.",
    )


def _parity(predictions: dict[str, np.ndarray], arm: str, config: LoopConfig) -> str:
    error = predictions["forces"] - predictions["forces_reference"]
    n_atoms = error.shape[1]
    energy = (predictions["energy"] - predictions["energy_reference"]) / n_atoms
    return _figure(
        "Model against reference",
        figures.parity(predictions),
        f"The last model of the {arm} arm (round {config.rounds}) on the test frames. Energy: RMSE "
        f"{1000 * np.sqrt(np.mean(energy**2)):.2f} meV/atom, of which "
        f"{1000 * abs(energy.mean()):.2f} is a constant offset. Forces: RMSE "
        f"{1000 * np.sqrt(np.mean(error**2)):.1f} meV/Å, largest error of a component "
        f"{1000 * np.abs(error).max():.0f} meV/Å.",
    )


def _reliability(predictions: dict[str, np.ndarray]) -> str:
    components = (predictions["forces"] - predictions["forces_reference"]).reshape(-1, 3)
    std = predictions["forces_std"].ravel()
    error = np.linalg.norm(components, axis=1)
    ratio = np.sqrt(np.mean(error**2) / np.mean(std**2))
    z = np.sqrt(np.mean((error / std) ** 2) / 3) * np.sqrt(3.0)
    rank = np.corrcoef(np.argsort(np.argsort(std)), np.argsort(np.argsort(error)))[0, 1]
    judgement = "too confident" if ratio > 1.1 else "too cautious" if ratio < 0.9 else "about right"
    return _figure(
        "How far the uncertainty can be believed",
        figures.reliability(std, error, components),
        "Left: atoms in ten bins of equal size by predicted force std; on the thin line prediction "
        f"and actual error agree. Overall the error is {ratio:.2f} times the predicted std: the "
        f"committee is {judgement}. Rank correlation of std and error, atom by atom: {rank:.2f}. "
        "Right: errors of force components divided by their predicted std; the thin line is the "
        f"normal distribution they would follow if every std were right. Their RMS is {z:.2f} "
        "(1 would be right).",
    )


def _trajectories(config: LoopConfig, paths: Paths, arm: str) -> str:
    traces = [
        [
            read_json(paths.round(arm, number) / f"trajectory-{index}.json")
            for index in range(config.explorer.n_trajectories)
        ]
        for number in range(1, config.rounds + 1)
    ]
    cold, hot = config.explorer.temperature
    n_steps = config.explorer.n_steps
    ends = [trace["end"] for round_traces in traces for trace in round_traces]
    n_cut = sum(end != "complete" for end in ends)
    return _figure(
        "Uncertainty along the trajectories",
        figures.trajectories(traces, config.explorer.timestep),
        f"Largest force std of an atom during the dynamics of the {arm} arm; the thermostat rises "
        f"from {cold:g} to {hot:g} K over {n_steps * config.explorer.timestep / 1000:g} ps. Frames "
        f"above the dashed line are candidates for labelling. {n_cut} of {len(ends)} trajectories "
        "ended early.",
    )


def _gallery(
    config: LoopConfig, paths: Paths, store: Store, arm: str, load_committee: LoadCommittee
) -> str:
    labelled = store.frames(arm=arm, status=LABELLED)
    labelled = [frame for frame in labelled if frame.columns["round"] <= config.rounds]
    worst = sorted(labelled, key=lambda frame: -frame.columns["std"])[:_N_PICTURES]
    if not worst:
        return ""
    stds, titles = [], []
    for frame in worst:
        number = frame.columns["round"]
        committee = load_committee(paths.round(arm, number - 1) / "model.pt")
        stds.append(committee.predict(frame.atoms).forces_std)
        time = frame.columns["step"] * config.explorer.timestep / 1000
        titles.append(f"round {number}, {time:.2f} ps: {1000 * stds[-1].max():.0f} meV/Å")
    return _figure(
        "The most uncertain frames that were labelled",
        figures.gallery([frame.atoms for frame in worst], stds, titles),
        f"{len(worst)} frames with the largest force std among those labelled in the {arm} arm, "
        "each in its own principal plane; colour is the force std of the atom under the model that "
        "found the frame, and the number above is its largest.",
    )
