"""How far a run of the loop is, read from its directory; nothing here changes it, and it may be running."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..durable import claimed, read_json
from ..section import validated
from .config import LoopConfig
from .databases import is_there
from .finish import rounds_to_do
from .parts import GIVEN_KEYS, Paths, paths_of
from .spelling import stored
from .store import CANDIDATE, CHOSEN, DISCARDED, FAILED, GIVEN, LABELLED, TEST_SET, Store, without_numbers
from .systems import labels_a_round, planned

STEPS = ("explore", "label", "train", "evaluate")


def open_run(directory: Path) -> tuple[LoopConfig, Paths]:
    """The config that a run was started with, and where its files lie. Raises ValueError where there is no run."""
    whole, given = directory / "config.json", directory / GIVEN_KEYS
    if not whole.exists():
        raise ValueError(f"{directory} holds no run of the loop (there is no {whole.name} in it)")
    path = given if given.exists() else whole  # of an earlier release
    values = {key: value for key, value in stored(read_json(path)).items() if key in LoopConfig.model_fields}
    config = validated(LoopConfig, values | {"directory": str(directory)}, str(path))
    return config, paths_of(config)


def is_running(paths: Paths) -> bool:
    """Whether a process has the directory."""
    if not paths.lock.exists():
        return False
    with claimed(paths.lock) as free:
        return not free


def status_of(directory: Path) -> dict[str, Any]:
    """Plain values: what `lines` makes words of."""
    config, paths = open_run(directory)
    columns = Store(paths.store).columns() if is_there(paths.store) else []
    settings = Counter(c["settings"] for c in columns if "settings" in c)
    return {
        "directory": str(directory),
        "state": _state(config, paths),
        "rounds": config.rounds,
        "batch": labels_a_round(config),
        "test_frames": sum(c["arm"] == TEST_SET and c["status"] == LABELLED for c in columns),
        "arms": {arm: _arm(arm, config, paths, columns) for arm in (GIVEN, *config.arms)},
        "oracle_settings": dict(settings),
        "oracle_seconds": sum(c.get("seconds", 0.0) for c in columns),
        "failed": _reasons(columns, FAILED),
        "discarded": _reasons(columns, DISCARDED),
    }


def _state(config: LoopConfig, paths: Paths) -> str:
    if is_running(paths):
        return "running, pauses before its next step" if paths.pause.exists() else "running"
    last = {arm: rounds_to_do(config, paths, arm) for arm in config.arms}
    if all((paths.round(arm, number) / "metrics.json").exists() for arm, (number, _) in last.items()):
        early = [f"{arm}: {why}" for arm, (_, why) in last.items() if why]
        return "; ".join(["done", *early])
    return "paused" if paths.pause.exists() else "stopped"


def _arm(arm: str, config: LoopConfig, paths: Paths, columns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    own = [c for c in columns if c["arm"] == arm]
    counts = Counter(c["status"] for c in own)
    found = {status: counts[status] for status in (LABELLED, CHOSEN, CANDIDATE, FAILED, DISCARDED)}
    errors = list(_errors(arm, config, paths))
    return found | {
        "calls": sum(c.get("calls", 0) for c in own),
        "systems": {system: _of_system(own, system) for system in config.systems or ()},
        "next": _next_step(arm, config, paths, own),
        "force_rmse": errors,
    }


def _of_system(own: Sequence[dict[str, Any]], system: str) -> dict[str, int]:
    counts = Counter(c["status"] for c in own if c.get("system") == system)
    return {status: counts[status] for status in (LABELLED, CHOSEN, FAILED, CANDIDATE, DISCARDED)}


def _next_step(arm: str, config: LoopConfig, paths: Paths, own: Sequence[dict[str, Any]]) -> str:
    """The first step that has left no result, as `rounds` looks for it."""
    for number in [0] if arm == GIVEN else range(1, rounds_to_do(config, paths, arm)[0] + 1):
        folder, where = paths.round(arm, number), f"round {number}: "
        if (folder / "metrics.json").exists():
            continue
        if (folder / "model.pt").exists():
            return where + STEPS[3]
        n_trajectories = len(list(folder.glob("trajectory-*.json")))
        if number and n_trajectories < (n_planned := len(planned(config))):
            return where + f"{STEPS[0]} ({n_trajectories} of {n_planned} trajectories)"
        n_labelled = sum(c["round"] == number and c["status"] == LABELLED for c in own)
        n_wanted = labels_a_round(config) if number else sum(c["status"] in (LABELLED, CHOSEN) for c in own)
        if n_labelled < n_wanted:
            return where + f"{STEPS[1]} ({n_labelled} of {n_wanted} labels)"
        return where + STEPS[2]
    return "done"


def _errors(arm: str, config: LoopConfig, paths: Paths) -> Iterator[float]:
    """RMSE of forces on the test frames after each round that is done, eV/Å."""
    for number in [0] if arm == GIVEN else range(1, config.rounds + 1):
        path = paths.round(arm, number) / "metrics.json"
        if path.exists():
            yield float(read_json(path)["force_rmse"])


def _reasons(columns: Sequence[dict[str, Any]], status: str) -> dict[str, int]:
    """How often each reason was given, numbers in it left out."""
    found = (c.get("reason", "") for c in columns if c["status"] == status)
    return dict(Counter(without_numbers(reason) for reason in found).most_common())


def lines(status: dict[str, Any]) -> list[str]:
    """For people."""
    found = [f"{status['directory']}: {status['state']}"]
    width = max(3, *(len(arm) for arm in status["arms"]))
    found.append(f"{'arm':<{width}}  labels  waiting  failed  candidates  oracle calls  force RMSE by round (meV/Å)")
    for arm, row in status["arms"].items():
        errors = " ".join(f"{1000 * error:.0f}" for error in row["force_rmse"])
        found.append(
            f"{arm:<{width}} {row[LABELLED]:>7} {row[CHOSEN]:>8} {row[FAILED]:>7} {row[CANDIDATE]:>11} "
            f"{row['calls']:>13}  {errors or '-':<27} next: {row['next']}"
        )
    for arm, row in status["arms"].items():
        for system, counts in row["systems"].items():
            numbers = ", ".join(f"{n} {word}" for word, n in counts.items())
            found.append(f"{arm}, {system}: {numbers}")
    found.append(f"test set: {status['test_frames']} labelled frames")
    if len(status["oracle_settings"]) > 1:
        several = ", ".join(f"{name} ({n} labels)" for name, n in status["oracle_settings"].items())
        found.append(f"WARNING: labels of several settings of the oracle: {several}")
    for word in (FAILED, DISCARDED):
        found += [f"{word}: {n} x {reason}" for reason, n in list(status[word].items())[:5]]
    return found
