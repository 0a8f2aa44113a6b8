"""A whole sweep: draw, train, tell, draw again; `kill -9` at any moment loses no epoch."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import write

from ..config import TrainConfig, validated
from ..data.files import iterate_atoms
from ..durable import only_process, read_json, remove_leftovers, replacing, write_json
from ..oracle.execution import result_or_reason
from ..processes import single_threaded_children
from ..training.loading import read_data
from ..training.members import read_members
from .config import SweepConfig, check_same_sweep, meant, training_values
from .execution import MakeExecutor, executor_of
from .folder import COST, ERRORS, REASON, SweepDirectory, write_result
from .picture import draw
from .progress import Progress
from .spaces import distribution
from .study import Study, open_study
from .table import Outcome, as_json, outcomes, table
from .trial import ERROR_KEY, TrialTask, run_trial


def run_sweep(
    config: SweepConfig, make_executor: MakeExecutor = executor_of, report: Callable[[str], None] = print
) -> list[Outcome]:
    """Run a sweep, or continue it where it was killed; its trials, the best first.

    Raises ValueError for unusable data, a directory in use, a continued sweep of another config, and where all trials
    have failed. A trial that fails is recorded with its reason.
    """
    directory = SweepDirectory(config.directory)
    frame = _cost_frame(config)
    _claim(directory, config)
    with only_process(directory.lock, "sweep"), _study(directory, config) as study:
        if config.scheduler is None:  # or somebody may be writing them
            remove_leftovers(directory.path)
        if not directory.cost_frame.exists():
            with replacing(directory.cost_frame) as temporary:
                write(temporary, frame, format="extxyz")
        _record(directory, study)
        with single_threaded_children(), make_executor(config, directory.path) as executor:
            _work(directory, config, study, executor, report)
        found = _outcomes(directory, study)
    if not any(trial.finished for trial in found):
        reason = next((trial.result[REASON] for trial in found if trial.result is not None), "none was begun")
        raise ValueError(f"{directory.path}: no trial came to an end; the first: {reason}")
    return found


def table_so_far(config: SweepConfig) -> str:
    """The table of a sweep, finished or not, running or not. Raises ValueError where there is none."""
    directory = SweepDirectory(config.directory)
    if not directory.database.exists():
        raise ValueError(f"{directory.path}: holds no sweep")
    check_same_sweep(read_json(directory.config_file), config.model_dump(mode="json"), directory.path)
    with _study(directory, config) as study:
        return table(_outcomes(directory, study))


def what_is_kept(config: SweepConfig) -> str:
    """For people whose sweep was interrupted: what is on disk, and how to go on."""
    directory = SweepDirectory(config.directory)
    if not directory.config_file.exists():
        return f"nothing was begun in {directory.path}"
    return f"trials and finished epochs are kept in {directory.path}; continue with the same command again"


def _study(directory: SweepDirectory, config: SweepConfig) -> Any:
    space = {key: distribution(found) for key, found in config.search.items()}
    n_objectives = 1 if config.objective == "error" else 2
    return open_study(directory.database, space, n_objectives, config.sampler, config.seed)


def _claim(directory: SweepDirectory, config: SweepConfig) -> None:
    """Make the directory, or see that it holds this sweep."""
    now = config.model_dump(mode="json")
    if directory.config_file.exists():
        check_same_sweep(read_json(directory.config_file), now, directory.path)
    elif directory.path.exists() and any(directory.path.iterdir()):
        raise ValueError(f"{directory.path}: holds files of something that is no sweep; choose another directory")
    write_json(directory.config_file, now)


def _cost_frame(config: SweepConfig) -> Atoms:
    """Read the data, whose faults are no trial's; the frame that all trials are timed on, without labels."""
    base = validated(TrainConfig, config.training, "training")
    before = [] if base.initial is None else read_members(base.initial).trained_on
    data = read_data(base, before)
    if not data.validation:
        raise ValueError(
            f"{base.data.train}: no frame is left for validation, by which trials are compared; give 'data.valid' or "
            "a larger 'data.valid_fraction'"
        )
    if config.cost_frame is None:
        frame = max(data.validation, key=lambda frame: frame.n_atoms).loaded()
        return Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    given = next(iterate_atoms(Path(config.cost_frame)))
    known = {symbol for frame in data.training for symbol in frame.composition}
    unknown = sorted(set(given.get_chemical_symbols()) - known)
    if unknown:
        raise ValueError(f"{config.cost_frame}: frame 0 has {', '.join(unknown)}, which no training frame has")
    return Atoms(given.numbers, given.positions, cell=given.cell, pbc=given.pbc)


def _work(
    directory: SweepDirectory, config: SweepConfig, study: Study, executor: Executor, report: Callable[[str], None]
) -> None:
    """Keep the workers busy until all trials are done; those that a kill interrupted come first."""
    study.drop_torn()
    left, n_begun = study.running(), len(study.begun())
    futures: dict[Future[dict[str, Any]], int] = {}
    with Progress(directory, config.trials, n_begun - len(left), report) as progress:
        while True:
            while len(futures) < config.workers and (left or n_begun < config.trials):
                if not left:
                    left, n_begun = [study.draw()], n_begun + 1
                task = _task(directory, config, study, left.pop(0))
                futures[executor.submit(run_trial, task)] = task.number
            if not futures:
                return
            done, _ = wait(futures, timeout=progress.PATIENCE, return_when=FIRST_COMPLETED)
            for future in done:
                number, result = futures.pop(future), result_or_reason(future)
                _tell(directory, config, study, number, result)
                progress.finished(number)
            if done:
                _record(directory, study)
            progress.show(list(futures.values()))


def _task(directory: SweepDirectory, config: SweepConfig, study: Study, number: int) -> TrialTask:
    values = training_values(config, meant(config, study.begun()[number]))
    folder = directory.trial(number).absolute()
    return TrialTask(number, folder, values, Path.cwd(), directory.cost_frame.absolute())


def _tell(
    directory: SweepDirectory, config: SweepConfig, study: Study, number: int, result: dict[str, Any] | str
) -> None:
    """The result is on disk before the optimiser hears of it: a kill between them costs a look at the file."""
    if isinstance(result, str):
        result = {REASON: result}
        write_result(directory.trial(number), result)
    if REASON in result:
        study.fail(number)
        return
    values = [result[ERRORS][ERROR_KEY], result[COST]]
    study.finish(number, values[:1] if config.objective == "error" else values)


def _outcomes(directory: SweepDirectory, study: Study) -> list[Outcome]:
    trials = study.begun()
    return outcomes(trials, {number: directory.result(number) for number in trials})


def _record(directory: SweepDirectory, study: Study) -> None:
    """Table and picture of what there is."""
    found = _outcomes(directory, study)
    write_json(directory.results_file, as_json(found))
    draw(found, directory.picture)
