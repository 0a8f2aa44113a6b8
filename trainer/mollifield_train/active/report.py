"""One self-contained page about a run: tables and inline SVG, nothing to load."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.stats import spearmanr

from ..durable import replacing
from . import figures
from .acquire.config import AcquisitionConfig
from .acquire.descriptors import describe, labelled_atoms
from .calibrations import HEAD, about_calibrations, calibrated_rows, picture
from .committee import LoadCommittee
from .config import LoopConfig
from .explore.trajectory import MAX_STD, read_trace
from .finish import rounds_to_do
from .page_tables import losses, rounds_html, systems_html, table
from .parts import Paths
from .start import is_isolated_atom
from .store import LABELLED, TEST_SET, Store
from .systems import explorer_of, step_length, systems_of
from .turning import turning

_N_PICTURES, _N_CRYSTALS = 6, 3
_ENDS = {
    "complete": "ran to the end",
    "stopped": "ended at the uncertainty 'stop'",
    "unphysical": "ended at an unphysical geometry",
    "failed": "failed",
}
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
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .82rem; line-height:
1.3; }} th, td {{ padding: .35rem .3rem; text-align: right; border-bottom: 1px solid var(--line); }} th {{ color:
var(--soft); font-weight: 500; vertical-align: bottom; }} th:first-child, td:first-child, table.text td, table.text th
{{ text-align: left; }} </style></head><body><main> {body} </main></body></html>
"""


def write_report(
    config: LoopConfig, paths: Paths, metrics: list[dict[str, Any]], load_committee: LoadCommittee
) -> Path:
    """Write `report.html` into the directory of the run and return its path.

    `config`: of the run. `paths`: of the run; all its rounds are finished. `metrics`: one row an arm and round, as
    `loop.collect_metrics` gives them. `load_committee`: opens the models, for the pictures of uncertain frames.
    """
    arm = next(iter(config.arms))
    n_rounds, why_last = rounds_to_do(config, paths, arm)
    with np.load(paths.round(arm, n_rounds) / "predictions.npz") as stored:
        predictions = dict(stored)
    store = Store(paths.store)
    tests = [frame.atoms.get_chemical_formula() for frame in store.frames(arm=TEST_SET, status=LABELLED)]
    oracle = config.oracle.name
    title = f"Active learning of {_formulas(tests)} against {oracle}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="lead">{html.escape(summary(metrics, len(tests), config.arms))}</p>',
        "<h2>The rounds</h2>",
        rounds_html(metrics),
        f'<p class="note">{html.escape(_about_rounds(config, metrics, len(tests)))}</p>',
        f'<p class="note">{html.escape(f"The {arm} arm ended before its budget: {why_last}.")}</p>' if why_last else "",
        systems_html(metrics),
        _learning(metrics),
        _parity(predictions, tests, arm, n_rounds),
        _reliability(predictions),
        _calibrations(config, paths, metrics, arm, n_rounds),
        _trajectories(config, paths, arm, n_rounds),
        _map(paths, store, arm, n_rounds, load_committee),
        _gallery(config, paths, store, arm, n_rounds, load_committee),
        losses(store.columns()),
    ]
    path = paths.root / "report.html"
    with replacing(path) as temporary:
        page = _PAGE.format(title=html.escape(title), body="\n".join(body))
        temporary.write_text(page, encoding="utf-8")
    return path


def _formulas(formulas: list[str]) -> str:
    different = list(dict.fromkeys(formulas))
    text = different[0].translate(_SUBSCRIPTS)
    return text if len(different) == 1 else f"{text} and {len(different) - 1} other compositions"


def summary(metrics: list[dict[str, Any]], n_tests: int, arms: Mapping[str, AcquisitionConfig]) -> str:
    """What came out, in a few sentences, whoever won; the first arm against each other one."""
    last = {row["arm"]: row for row in metrics}
    (arm, row), *others = last.items()
    first = next(row for row in metrics if row["arm"] == arm)
    text = (
        f"One run, judged on {n_tests} test frames: {row['n_new']} new labels, "
        f"{arms[arm].IN_WORDS}, brought the RMSE of forces from "
        f"{_mev(first['force_rmse'])} to {_mev(row['force_rmse'])} meV/Å, and that of energies, a constant offset "
        f"apart, from {_mev(first['energy_rmse_per_atom_shifted'])} to {_mev(row['energy_rmse_per_atom_shifted'])} "
        f"meV/atom. The offset went from {_mev(first['energy_offset_per_atom'])} to "
        f"{_mev(row['energy_offset_per_atom'])} meV/atom."
    )
    for name, other in others:
        text += f" {_comparison(row, other, arms[name].IN_WORDS)}"
    missing = {arm: row["n_missing"] for arm, row in last.items() if row["n_missing"]}
    if missing:
        text += f" Labels missing from the budget: {', '.join(f'{n} ({arm})' for arm, n in missing.items())}."
    return text


def _comparison(row: dict[str, Any], other: dict[str, Any], how: str) -> str:
    """Two arms after the last round, side by side only if they spent the same; `how` the other chose its frames."""
    equal = row["n_new"] == other["n_new"]
    reached = (
        f"{'As many' if equal else other['n_new']} new frames {how} from the same kind of trajectory "
        f"({other['arm']}) reached "
        f"{_mev(other['force_rmse'])} meV/Å and {_mev(other['energy_rmse_per_atom_shifted'])} meV/atom"
    )
    if not equal:
        return f"{reached}; with {row['n_new']} against {other['n_new']} labels, that compares budgets, not choices."
    forces, energies = (_verdict(row[key], other[key]) for key in ("force_rmse", "energy_rmse_per_atom_shifted"))
    return f"{reached}: in this one run the {row['arm']} arm was {forces} for forces and {energies} for energies."


def _verdict(ours: float, theirs: float) -> str:
    change = round(100 * (ours / theirs - 1))
    return f"{abs(change)}% {'better' if change < 0 else 'worse'}" if change else "no better and no worse"


def _mev(value: float) -> str:
    """Three digits, in thousandths."""
    value *= 1000
    return f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.3g}"


def _about_rounds(config: LoopConfig, metrics: list[dict[str, Any]], n_tests: int) -> str:
    tests = config.test_set
    origin = f"drawn from dynamics with the reference method at {tests.temperature:g} K"
    if tests.frames is not None:
        origin = f"from {tests.frames.name}"
    text = (
        f"Errors and standard deviations on the same {n_tests} test frames, {origin}. Frames, calls and failures are "
        "counted from the beginning of the run; a call that gave no label counts. Labels that came with the "
        f"starting frames cost nothing{', but for the one that is computed again as a check' * config.check_labels}. "
        "Stds are of forces. Energies are per atom; their offset is the mean error, which no force and no "
        "energy difference sees."
    )
    n_shared = sum(row["n_shared"] for row in {row["arm"]: row for row in metrics}.values())
    if n_shared:
        text += f" {n_shared} frames were chosen by more than one arm: computed once, counted for each."
    return text


def _figure(title: str, svg: str, caption: str) -> str:
    return f"<h2>{title}</h2><figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _learning(metrics: list[dict[str, Any]]) -> str:
    return _figure(
        "What the labels bought",
        figures.learning_curve(metrics),
        "Root-mean-square errors on the test frames: of a force component, and of the energy per atom without its "
        "constant offset. Arms start from the same model and are retrained in the same way; they differ in which "
        "frames were labelled.",
    )


def _parity(predictions: dict[str, np.ndarray], formulas: list[str], arm: str, n_rounds: int) -> str:
    error = predictions["forces"] - predictions["forces_reference"]
    energy = (predictions["energy"] - predictions["energy_reference"]) / predictions["n_atoms"]
    return _figure(
        "Model against reference",
        figures.parity_panels(predictions, formulas),
        f"The last model of the {arm} arm (round {n_rounds}) on the test frames. Energy: RMSE "
        f"{1000 * np.sqrt(np.mean(energy**2)):.2f} meV/atom, with a constant offset of "
        f"{1000 * energy.mean():.2f} and {1000 * energy.std():.2f} without it. Forces: RMSE "
        f"{1000 * np.sqrt(np.mean(error**2)):.1f} meV/Å, largest error of a component "
        f"{1000 * np.abs(error).max():.0f} meV/Å.",
    )


def _reliability(predictions: dict[str, np.ndarray]) -> str:
    error = predictions["forces"] - predictions["forces_reference"]
    certain = predictions["forces_std"] < figures.ZERO
    note = _about_certain(certain, np.linalg.norm(error, axis=1))
    title = "How far the uncertainty can be believed"
    if certain.all():
        return f"<h2>{title}</h2><p>{note}</p>"
    std, components = predictions["forces_std"][~certain], error[~certain]
    length = np.linalg.norm(components, axis=1)
    ratio = np.sqrt(np.mean(length**2) / np.mean(std**2))
    z = np.sqrt(np.mean((length / std) ** 2))
    rank = spearmanr(std, length).statistic if len(std) > 2 else np.nan
    judgement = "too confident" if ratio > 1.1 else "too cautious" if ratio < 0.9 else "about right"
    return _figure(
        title,
        figures.reliability(std, length, components),
        "Left: atoms in ten bins of equal size by predicted force std; on the thin line prediction "
        f"and actual error agree. Overall the error is {ratio:.2f} times the predicted std: the "
        f"committee is {judgement}. Rank correlation of std and error, atom by atom: {rank:.2f}. "
        "Right: errors of force components divided by their predicted std; the thin line is the "
        f"normal distribution they would follow if every std were right. Their RMS is {z:.2f} "
        f"(1 would be right). {note}",
    )


def _calibrations(config: LoopConfig, paths: Paths, metrics: list[dict[str, Any]], arm: str, n_rounds: int) -> str:
    rows = calibrated_rows(metrics)
    text = html.escape(about_calibrations(len(rows), config.training.calibrate_from))
    title = f"The last model of the {arm} arm on its validation frames, uncalibrated and calibrated."
    return (
        f'<h2>How the stds were calibrated</h2>{table(list(HEAD), rows) if rows else ""}<p class="note">{text}</p>'
        f"{picture(paths.round(arm, n_rounds) / 'training', title)}"
    )


def _about_certain(certain: np.ndarray, error: np.ndarray) -> str:
    """Why atoms have a std of zero, and how wrong they are all the same; empty where there are none."""
    if not certain.any():
        return ""
    return (
        f"{certain.sum()} of {len(certain)} atoms have a std of zero and are left out of the figure; the largest error "
        f"of their force is {1000 * error[certain].max():.1f} meV/Å. All members give them the same force: on a site "
        "of a perfect crystal symmetry makes it zero in every model, and an atom without neighbours within the cutoff "
        "feels none. A std of zero there is no sign of knowledge; the energy can be wrong."
    )


def _trajectories(config: LoopConfig, paths: Paths, arm: str, n_rounds: int) -> str:
    """Nothing where the explorer's traces have no std."""
    traces = [
        [read_trace(file) for file in sorted(paths.round(arm, number).glob("trajectory-*.json"), key=_number)]
        for number in range(1, n_rounds + 1)
    ]
    if not all(MAX_STD in trace.columns for round_traces in traces for trace, _ in round_traces):
        return ""
    ends = Counter(trace.end.partition(":")[0] for round_traces in traces for trace, _ in round_traces)
    text = ", ".join(f"{n} {_ENDS.get(end, end)}" for end, n in ends.most_common())
    stds = [std for round_traces in traces for trace, _ in round_traces for std in trace[MAX_STD]]
    interrupted = (
        " Where a line is interrupted the std is zero: all atoms are on sites of a perfect crystal, where members "
        "agree by symmetry."
    ) * any(std < figures.ZERO for std in stds)
    about = "; ".join(dict.fromkeys(filter(None, (explorer_of(config, s).about() for s in systems_of(config)))))
    return _figure(
        "Uncertainty along the trajectories",
        figures.trajectories(traces, step_length(config)),
        f"Largest force std of an atom along the trajectories of the {arm} arm{about and '; '}{about}. Frames "
        f"above the dashed line are uncertain. Of {ends.total()} trajectories, {text}.{interrupted}",
    )


def _when(step: int, step_length: float | None) -> str:
    return f"step {step}" if step_length is None else f"{step * step_length / 1000:.2f} ps"


def _number(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def _map(paths: Paths, store: Store, arm: str, n_rounds: int, load_committee: LoadCommittee) -> str:
    """Nothing where there are too few frames, or all are alike."""
    committee = load_committee(paths.round(arm, n_rounds) / "model.pt")
    groups: dict[str, list[Atoms]] = {"test set": [f.atoms for f in store.frames(arm=TEST_SET, status=LABELLED)]}
    for frame in store.labelled_frames(arm, n_rounds):
        if not is_isolated_atom(frame.atoms):
            number = frame.columns["round"]
            groups.setdefault(f"round {number}" if number else "starting frames", []).append(frame.atoms)
    rows = [
        describe(atoms, committee.predict(atoms), committee.species, "species_mean")
        for frames in groups.values()
        for atoms in frames
    ]
    cloud = np.array(rows) - np.mean(rows, axis=0)
    _, sizes, axes = np.linalg.svd(cloud, full_matrices=False)
    if len(sizes) < 2 or sizes[0] < 1e-9:
        return ""
    ends = np.cumsum([len(frames) for frames in groups.values()])[:-1]
    points = dict(zip(groups, np.split(cloud @ axes[:2].T, ends), strict=True))
    return _figure(
        "Where the labelled frames lie",
        figures.latent_map(points, float(np.sum(sizes[:2] ** 2) / np.sum(sizes**2))),
        f"Frames in the latent space of the last model of the {arm} arm (means over atoms, by species), seen along its "
        "two longest axes.",
    )


def _gallery(
    config: LoopConfig, paths: Paths, store: Store, arm: str, n_rounds: int, load_committee: LoadCommittee
) -> str:
    labelled = store.frames(arm=arm, status=LABELLED)
    labelled = [frame for frame in labelled if frame.columns["round"] <= n_rounds]
    n_pictures = _N_PICTURES if not any(frame.atoms.pbc.any() for frame in labelled) else _N_CRYSTALS
    worst = sorted(labelled, key=lambda frame: -frame.columns["std"])[:n_pictures]
    if not worst:
        return ""
    stds, titles = [], []
    for frame in worst:
        number = frame.columns["round"]
        committee = load_committee(paths.round(arm, number - 1) / "model.pt")
        stds.append(committee.predict(frame.atoms).forces_std)
        of = f"{frame.system}, " * bool(frame.system)
        where = of + _when(frame.columns["step"], explorer_of(config, frame.system).step_length)
        largest = stds[-1][labelled_atoms(frame.atoms)].max()
        titles.append(f"round {number}, {where}: {1000 * largest:.0f} meV/Å")
    atoms = [frame.atoms for frame in worst]
    view = "a molecule lies in its own principal plane."
    if any(frame.atoms.pbc.any() for frame in worst):
        view = (
            "a crystal is seen along an axis of its cell (dashed), layer by layer from the bottom, so that no atom "
            "hides another; bonds to atoms beyond the cell end half way, and those between layers are left out."
        )
    return _figure(
        "The most uncertain frames that were labelled",
        turning(atoms, stds, titles, figures.gallery(atoms, stds, titles)),
        f"{len(worst)} frames with the largest force std among those labelled in the {arm} arm; colour is the force "
        f"std of the atom under the model that found the frame, and the number with it is its largest. Where frames do "
        f"not turn, {view}",
    )
