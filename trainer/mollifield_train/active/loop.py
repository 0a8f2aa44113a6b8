"""The whole loop: `mollifield loop config.yaml`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..durable import only_process, read_json, remove_leftovers, write_json
from ..processes import Job, run_together
from .config import LoopConfig, check_same_run, load_loop_config
from .finish import rounds_to_do
from .label.spool import remove_stale_claims
from .live import live
from .log import say
from .parts import GIVEN_KEYS, Parts, Paths, paths_of
from .rounds import ArmRun
from .spelling import stored
from .start import prepare_start, start_fingerprint
from .store import GIVEN, Store
from .systems import systems_of
from .test_set import make_test_set

MakeParts = Callable[[LoopConfig], Parts]
_FRAMES = "frames_fingerprint"
"""In config.json, beside the config: changes with the starting frames."""


def run(config_path: str | Path, fresh: bool = False) -> Path | None:
    """Run a loop, or continue it where it was killed; return the path of its report, None where it was paused.

    `config_path`: see `mollifield_train.active.config.LoopConfig`. `fresh`: delete the run that lies in the config's
    directory first. Raises ValueError: something in the config or the input is not allowed, or the directory holds a
    run with other settings, or another process is running there.
    """
    return run_loop(load_loop_config(config_path), fresh, default_parts)


def what_is_kept(config_path: str | Path, fresh: bool) -> str:
    """For people whose loop was interrupted: what is on disk, and how to go on."""
    return what_directory_keeps(load_loop_config(config_path).directory, fresh)


def what_directory_keeps(directory: Path, fresh: bool) -> str:
    """The same, by the directory of the run."""
    if not (directory / "config.json").exists():
        return f"nothing was begun in {directory}"
    command = "without --fresh" if fresh else "the same command again"
    return f"labels, models and finished epochs are kept in {directory}; continue with {command}"


def default_parts(config: LoopConfig) -> Parts:
    """The real trainer, explorer and committee."""
    from .wiring import make_parts

    return make_parts(config)


def run_loop(config: LoopConfig, fresh: bool, make_parts: MakeParts) -> Path | None:
    """`run` with a config in hand. `make_parts` is called in every process: a plain function."""
    root = config.directory
    paths = paths_of(config)
    _claim(paths, fresh)
    with only_process(paths.lock):
        remove_leftovers(root)
        _check_config(root, config)
        if _all_done(config, paths):
            say("loop", "all rounds are done; --fresh starts again")
        elif not paths.pause.exists():
            with live(root):
                _run_rounds(config, paths, make_parts)
        if not _all_done(config, paths):
            say("loop", f"paused; `mollifield resume {root}` goes on")
            return None
        return _finish(config, paths, make_parts)


def _run_rounds(config: LoopConfig, paths: Paths, make_parts: MakeParts) -> None:
    """Start, test set and all arms; what is done already is left alone."""
    _prepare(config, paths)
    _work(config, [Job("test set", _make_test_set, (config,)), Job("start", _run_start, (config, make_parts))])
    _arm_run(GIVEN, config, make_parts).evaluate(0)
    _work(config, [Job(arm, _run_arm, (arm, config, make_parts)) for arm in config.arms])


def _claim(paths: Paths, fresh: bool) -> None:
    """Make the directory; with `fresh`, delete the run in it, but nothing that is not a run."""
    root = paths.root
    marker = root / "config.json"
    occupied = root.exists() and any(root.iterdir())
    if occupied and not marker.exists() and not paths.lock.exists():
        raise ValueError(f"{root} holds other things than a loop's run: choose another directory")
    if fresh and marker.exists():
        with only_process(paths.lock):
            shutil.rmtree(root)
            if paths.database is not None:
                Store(paths.store).clear()
    if paths.database is not None and not marker.exists() and Store(paths.store).columns():
        raise ValueError("store: the database holds frames, of another run: each run takes one of its own")
    root.mkdir(parents=True, exist_ok=True)


def _check_config(root: Path, config: LoopConfig) -> None:
    marker, content = root / "config.json", config.model_dump(mode="json")
    if marker.exists():
        before = read_json(marker)
        started_with = before.pop(_FRAMES, None)
        check_same_run(stored(before), content, root)
        say("loop", f"continuing the run in {root}")
        if started_with is not None:
            content[_FRAMES] = started_with
    write_json(marker, content)
    # Keys that say something only where they are given do not survive the whole.
    write_json(root / GIVEN_KEYS, config.model_dump(mode="json", exclude_unset=True))


def _check_frames(root: Path, config: LoopConfig) -> None:
    """Refuse to continue a run whose starting frames have changed, and remember those of a new one."""
    marker = root / "config.json"
    content, frames = read_json(marker), start_fingerprint(config)
    if content.setdefault(_FRAMES, frames) != frames:
        raise ValueError(
            f"{_files(config)} has changed since the run in {root} was started with it; bring the old frames "
            "back, choose another directory, or start again with --fresh"
        )
    write_json(marker, content)


def _files(config: LoopConfig) -> str:
    return " or ".join(str(system.frames) for system in systems_of(config).values())


def _prepare(config: LoopConfig, paths: Paths) -> None:
    """Put the starting frames into the store, labelled."""
    paths.spool.mkdir(exist_ok=True)
    remove_stale_claims(paths.spool)
    store = Store(paths.store)
    if store.frames(arm=GIVEN):
        _check_frames(paths.root, config)
    prepare_start(config, store, paths.spool, lambda text: say("start", text))
    _check_frames(paths.root, config)


def _work(config: LoopConfig, jobs: list[Job]) -> None:
    if config.parallel:
        run_together(jobs)
        return
    for job in jobs:
        job.function(*job.arguments)


def _arm_run(arm: str, config: LoopConfig, make_parts: MakeParts) -> ArmRun:
    paths = paths_of(config)
    parts = make_parts(config)
    return ArmRun(arm, config, paths, Store(paths.store), parts, lambda text: say(arm, text))


def _make_test_set(config: LoopConfig) -> None:
    paths = paths_of(config)
    make_test_set(config, paths.store, paths.spool, lambda text: say("start", text))


def _run_start(config: LoopConfig, make_parts: MakeParts) -> None:
    _arm_run(GIVEN, config, make_parts).train(0)


def _run_arm(arm: str, config: LoopConfig, make_parts: MakeParts) -> None:
    _arm_run(arm, config, make_parts).run()


def _finish(config: LoopConfig, paths: Paths, make_parts: MakeParts) -> Path:
    """Print the table of the rounds and write the report."""
    from .report import write_report

    metrics = collect_metrics(config, paths)
    write_json(paths.root / "rounds.json", metrics)
    print(rounds_table(metrics), flush=True)
    report = write_report(config, paths, metrics, make_parts(config).load_committee)
    say("loop", f"report: {report}")
    return report


def _metrics_files(config: LoopConfig, paths: Paths) -> list[Path]:
    """The file that each arm and round ends with; round 0 is the same for every arm."""
    rounds = {arm: rounds_to_do(config, paths, arm)[0] for arm in config.arms}
    return [paths.round(arm, number) / "metrics.json" for arm, last in rounds.items() for number in range(last + 1)]


def _all_done(config: LoopConfig, paths: Paths) -> bool:
    return all(path.exists() for path in _metrics_files(config, paths))


def collect_metrics(config: LoopConfig, paths: Paths) -> list[dict[str, Any]]:
    """The metrics of all arms and rounds, in the order of the config."""
    arms = [arm for arm in config.arms for _ in range(rounds_to_do(config, paths, arm)[0] + 1)]
    files = _metrics_files(config, paths)
    return [read_json(file) | {"arm": arm} for arm, file in zip(arms, files, strict=True)]


def rounds_table(metrics: list[dict[str, Any]]) -> str:
    """The table of the rounds as text; std and RMSE on the test frames, in meV/Å; below it what is missing."""
    width = max(3, *(len(row["arm"]) for row in metrics))
    lines = [
        f"{'arm':<{width}}  round  frames  new labels  oracle calls  force RMSE  mean force std  max force std",
        f"{'':<{width}}                                             (meV/Å)         (meV/Å)        (meV/Å)",
    ]
    for row in metrics:
        rmse, mean, largest = (1000 * row[key] for key in ("force_rmse", "mean_force_std", "max_force_std"))
        lines.append(
            f"{row['arm']:<{width}} {row['round']:>6} {row['n_frames']:>7} {row['n_new']:>11} "
            f"{row['oracle_calls']:>13} {rmse:>11.1f} {mean:>15.1f} {largest:>14.1f}"
        )
    for arm, row in {row["arm"]: row for row in metrics}.items():
        if row["n_missing"] > 0:
            wanted = row["n_new"] + row["n_missing"]
            lines.append(f"{arm}: {row['n_new']} of {wanted} new labels, {row['n_missing']} MISSING")
    return "\n".join(lines)
