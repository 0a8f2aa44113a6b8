"""A training run from beginning to end: frames in, one model.pt out."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mollifield.devices import choose_device

from ..clusters import LocalConfig
from ..config import TrainConfig, load_train_config
from ..data.batches import Graph
from ..data.graph_sets import GraphSet
from ..data.shifts import composition_counts, least_absolute_shifts, least_squares_shifts
from ..data.statistics import Statistics
from ..data.summary import Summary
from ..evaluate import each_error
from ..export import export
from ..metrics import FrameErrors, error_summary
from ..model.protocol import Potential, Rescalable
from ..model.samples import load_member_state, member_state, one_member, rebuilt, stack_members
from .distributed import Fit, ranks_of
from .dropout import Dropout
from .learning_curves import LearningCurves
from .lightning_fit import fit_members
from .loading import TrainingData, load_data, with_oracle_frames
from .members import build_potential, pack, read_members, warm_start, with_species
from .on_cluster import fit_on_cluster
from .parallel import Task, Told, fit_in_processes, worker_devices
from .progress import EpochBar, MembersBar, quiet_lightning
from .ranks import Ranks
from .run_directory import CONFIG_FILE, PRETRAIN_FOLDER, Row, RunDirectory
from .summary import summary_of

N_REFERENCE_FRAMES = 3
"""Small ones, which every engine recomputes whenever it loads the file."""
SCALE_RATIO = 2.0
"""A warm start takes over the scale of its data where it differs from the model's by more than this factor."""


@dataclass(frozen=True)
class TrainResult:
    """What a run leaves behind."""

    model: Potential
    """Best weights of every member, on the CPU."""
    metrics: dict[str, Any]
    """Errors on training and validation frames, members' seeds, epochs."""
    directory: Path
    """Where model.pt, members.pt and the logs lie."""


def train(
    config: TrainConfig,
    resume: bool = False,
    initial: str | Path | None = None,
    progress: bool = True,
    report: Callable[[str], None] = print,
    head_start: Path | None = None,
) -> TrainResult:
    """Train the committee of `config` and export it to directory/model.pt.

    `resume` continues from the last checkpoint, exactly; `initial` takes the place of the config's. `report` is told, a
    line each, what is odd about the data. `head_start`: the folder (`PRETRAIN_FOLDER`) of an earlier training, whose
    frames are taken in place of new ones where the config has `pretrain`. Raises ValueError for unusable data, a
    directory in use, a resumed run of another config, and a loss that is not finite.
    """
    if initial is not None:
        config = config.model_copy(update={"initial": str(initial)})
    directory = RunDirectory(config.directory)
    device = choose_device(config.device)
    checkpoint = directory.begin(config, resume)
    with ranks_of(config) as ranks:
        data, model = _data_and_model(config, checkpoint, progress, head_start)
        for note in data.notes:
            report(f"data: {note}")
        directory.write_config(config)
        with quiet_lightning():
            best, histories = _fit(config, data, model, directory, device, ranks, progress, report)
    _refit_shifts(config, best, data, device)
    exported = _exported(config, best, data, device)
    metrics = _metrics(config, exported, data, histories, device)
    trained = {"potential": pack(best)} | data.provenance()
    directory.write_members(trained | {"metrics": metrics})
    _export(config, exported, data, directory.model_file, metrics, trained)
    return TrainResult(best, metrics, directory.path)


def what_is_kept(config: TrainConfig) -> str:
    """For people whose training was interrupted: what is on disk, and how to go on."""
    optimiser = config.optimiser
    length = str(optimiser.epochs) if optimiser.minutes is None else f"{optimiser.minutes:g} minutes"
    return RunDirectory(config.directory).what_is_kept(length)


def export_run(directory: str | Path, path: str | Path) -> None:
    """Export the best weights that a run has so far, finished or not.

    The run's frames are read again for the reference frames. Raises ValueError if `directory` holds
    no run, or only some of the members of a committee trained one by one.
    """
    directory = Path(directory)
    _, model, before, _ = read_members(directory)
    config = load_train_config(directory / CONFIG_FILE)
    if model.n_members != config.committee.n_members:
        raise ValueError(f"{directory}: holds {model.n_members} of {config.committee.n_members} members")
    data, device = load_data(config, model, before), choose_device(config.device)
    exported = _exported(config, model, data, device)
    metrics = _metrics(config, exported, data, [], device)
    _export(config, exported, data, Path(path), metrics, {"potential": pack(model)} | data.provenance())


def _exported(config: TrainConfig, model: Potential, data: TrainingData, device: torch.device) -> Potential:
    """What the file gets of trained members: with dropout their passes, whose energies have shifts of their own."""
    if config.dropout is None:
        return model
    passes = Dropout(config.dropout, model, _member_seeds(config)).passes(model)
    _refit_shifts(config, passes, data, device)
    return passes


def _refit_shifts(config: TrainConfig, model: Potential, data: TrainingData, device: torch.device) -> None:
    fitted = data.statistics.shifts.fitted
    if fitted:
        found = each_error(model, data.training, _batch_size(config), device)
        refit_shifts(model, data.training.frames, found, fitted, together=config.heads is not None)


def _export(
    config: TrainConfig,
    model: Potential,
    data: TrainingData,
    path: Path,
    metrics: dict[str, Any],
    trained: dict[str, Any],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    export(
        model,
        path,
        _smallest(data.training),
        summary_of(config, metrics),
        training_frames=data.training,
        labels=data.labels,
        undetermined_species=data.statistics.shifts.undetermined,
        undetermined_compositions=_unseen(data.statistics),
        trained=trained,
    )


def _unseen(statistics: Statistics) -> Tensor:
    """`Shifts.unseen` as a tensor, with no rows too."""
    rows = statistics.shifts.unseen
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(statistics.species))


def refit_shifts(
    model: Potential,
    frames: Sequence[Summary],
    predicted: Iterable[FrameErrors],
    species: Sequence[str],
    together: bool = False,
) -> None:
    """Move each member's energy shifts of `species` to where its absolute error on the training frames is least.

    Forces do not depend on the shifts, and gradient steps approach their best values slowly: a
    short run would keep an offset that the initial weights left, and that would pass for
    disagreement between members. Absolute errors, because frames chosen for their uncertainty have
    large ones that should not shift all others. `together`: all by what the mean needs, where their disagreement was
    learnt.
    """
    labelled = [frame for frame in frames if frame.energy is not None]
    energies = [found.frame.energy - found.energies for found in predicted if found.frame.energy is not None]
    if not labelled:
        return
    residuals = np.stack(energies, axis=1)
    if together:
        residuals = residuals.mean(axis=0, keepdims=True)
    columns = [model.species.index(symbol) for symbol in species]
    model.atomic_shifts[:, columns] += torch.from_numpy(least_absolute_shifts(labelled, residuals, species))


def _data_and_model(
    config: TrainConfig, checkpoint: dict[str, Any] | None = None, progress: bool = True, head_start: Path | None = None
) -> tuple[TrainingData, Potential]:
    """What to train, and on what; a continued run has the split that it began with."""
    folder = Path(config.directory) / PRETRAIN_FOLDER
    if config.initial is None:
        before = [] if checkpoint is None else checkpoint["trained_before"]
        data = load_data(config, trained_before=before, progress=progress)
        data = with_oracle_frames(config, data, folder, head_start)
        return data, build_potential(config, data.statistics, config.seed, config.committee.n_members)
    known, before = warm_start(config, config.initial)
    if checkpoint is not None:
        before = checkpoint["trained_before"]
    data = with_oracle_frames(config, load_data(config, known, before, progress), folder, head_start)
    model = with_species(known, data.statistics.species, config.seed)
    _set_new_shifts(model, known.species, data)
    # The repulsion makes room for what comes nearer in the new frames.
    model = rebuilt(model, member_state(model), shortest_distances=_nearest(known, data))
    note = refresh_scale(model, data.statistics.force_scale)
    return dataclasses.replace(data, notes=[*data.notes, *note]), model


def _set_new_shifts(model: Potential, known: Sequence[str], data: TrainingData) -> None:
    """Shifts of the species that are not `known`: as given, or fitted to what the known ones' leave of the energies."""
    species, shifts = data.statistics.species, data.statistics.shifts
    for k in range(len(known), len(species)):
        model.atomic_shifts[:, k] = shifts.energies[k]
    new = [symbol for symbol in species if symbol not in known and symbol in shifts.fitted]
    frames = [frame for frame in data.training.frames if frame.energy is not None]
    frames = [frame for frame in frames if not set(new).isdisjoint(frame.composition)]
    if not frames:
        return
    others = [symbol for symbol in species if symbol not in new]
    kept = model.atomic_shifts[:, [species.index(symbol) for symbol in others]].numpy()
    counts, _ = composition_counts(frames, others)
    rest = np.array([frame.energy for frame in frames]) - kept @ counts.T
    columns = [species.index(symbol) for symbol in new]
    model.atomic_shifts[:, columns] = torch.from_numpy(least_squares_shifts(frames, rest, new))


def _nearest(model: Potential, data: TrainingData) -> tuple[tuple[float, ...], ...]:
    """Shortest distances in the frames of this run and, of species that `model` knows, of those before it."""
    now, before = data.statistics.shortest_distances, model.architecture.shortest_distances
    if before is None:
        return now
    nearest = [list(row) for row in now]
    for i, row in enumerate(before):
        for j, distance in enumerate(row):
            nearest[i][j] = min(nearest[i][j], distance)
    return tuple(map(tuple, nearest))


def refresh_scale(model: Potential, force_scale: float) -> list[str]:
    """Give a model the energy scale of new data where its own is far off, and say so; energies stay the same."""
    before = float(model.energy_scale[0])
    if 1.0 / SCALE_RATIO < force_scale / before < SCALE_RATIO:
        return []
    note = f"the data's scale of forces is {force_scale:.3g} eV/Å now, the initial model's was {before:.3g}"
    if not isinstance(model, Rescalable):
        return [f"{note} and stays: this architecture can take no other"]
    model.rescale(force_scale)
    return [f"{note}: taken over"]


def _fit(
    config: TrainConfig,
    data: TrainingData,
    committee: Potential,
    directory: RunDirectory,
    device: torch.device,
    ranks: Ranks,
    progress: bool,
    report: Callable[[str], None],
) -> tuple[Potential, list[list[Row]]]:
    """Best weights of all members, and the history of each fit: one of all together, or one a member."""
    if config.committee.training == "parallel":
        return _fit_parallel(config, data, committee, directory, device, progress, report)
    seeds, provenance = _member_seeds(config), data.provenance()
    together = config.committee.training == "together"
    names = ["all members"] if together else [f"member {m}" for m in range(len(seeds))]
    seconds = _seconds(config, data, len(names))
    members, histories = [], []
    ranks.say(Task(config, data, committee.architecture, member_state(committee), seeds, seconds))
    with _curves(config, directory, names, seconds, 1, progress) as curves:
        for m, name in enumerate(names):
            folder = directory.fit_folder(config, provenance, None if together else m)
            folder = dataclasses.replace(folder, watch=partial(curves.epoch, m))
            shown = EpochBar("training" if together else name) if progress else None
            model, own = (committee, seeds) if together else (one_member(committee, m), [seeds[m]])
            ranks.say(Fit(None if together else m, folder.checkpoint))
            best, history = fit_members(config, data, model, own, folder, device, shown, seconds, ranks)
            curves.over(m)
            members.append(best)
            histories.append(history)
    return members[0] if together else stack_members(members), histories


@contextlib.contextmanager
def _curves(
    config: TrainConfig,
    directory: RunDirectory,
    names: Sequence[str],
    seconds: float | None,
    n_at_a_time: int,
    progress: bool,
) -> Iterator[LearningCurves]:
    """The picture of a run's fits; who looks at its progress has one at the end, however short it was."""
    epochs = config.optimiser.epochs if seconds is None else None
    curves = LearningCurves(directory.path, names, epochs, seconds, n_at_a_time)
    try:
        yield curves
    finally:
        if progress:
            curves.draw()


def _fit_parallel(
    config: TrainConfig,
    data: TrainingData,
    committee: Potential,
    directory: RunDirectory,
    device: torch.device,
    progress: bool,
    report: Callable[[str], None],
) -> tuple[Potential, list[list[Row]]]:
    """The same on worker processes, here or on a cluster: what they leave in the members' folders."""
    seeds = _member_seeds(config)
    here = isinstance(config.committee.cluster, LocalConfig)
    devices = worker_devices(device, len(seeds), config.committee.workers)
    n_workers = len(devices) if here else min(config.committee.workers or len(seeds), len(seeds))
    seconds = _seconds(config, data, -(-len(seeds) // n_workers))
    task = Task(config, data, committee.architecture, member_state(committee), seeds, seconds)
    names = [f"member {m}" for m in range(len(seeds))]
    with (
        MembersBar(len(seeds), progress) as bar,
        _curves(config, directory, names, seconds, n_workers, progress) as curves,
    ):

        def epoch(m: int, history: Sequence[Row]) -> None:
            bar.epoch(m, history[-1])
            curves.epoch(m, history)

        told = Told(bar.step, epoch, curves.over, report)
        if here:
            fit_in_processes(task, devices, told)
        else:
            fit_on_cluster(task, n_workers, told)
    members, histories = [], []
    for m in range(len(seeds)):
        checkpoint = directory.fit_folder(config, data.provenance(), m).checkpoint
        assert checkpoint is not None
        member = one_member(committee, m)
        load_member_state(member, checkpoint["best"]["state"])
        members.append(member)
        histories.append(checkpoint["history"])
    return stack_members(members), histories


def _seconds(config: TrainConfig, data: TrainingData, n_turns: int) -> float | None:
    """For each of `n_turns` fits one after the other, labelling before them apart; None where epochs are counted."""
    minutes = config.optimiser.minutes
    return None if minutes is None else (60.0 * minutes - data.oracle_seconds) / n_turns


def _member_seeds(config: TrainConfig) -> list[int]:
    return [config.seed + m for m in range(config.committee.n_members)]


def _smallest(graphs: GraphSet) -> list[Graph]:
    """A few small frames: every engine recomputes them whenever it loads the file."""
    return [graphs[k] for k in np.argsort(graphs.n_edges, kind="stable")[:N_REFERENCE_FRAMES].tolist()]


def _metrics(
    config: TrainConfig, model: Potential, data: TrainingData, histories: list[list[Row]], device: torch.device
) -> dict[str, Any]:
    batch_size = _batch_size(config)
    metrics: dict[str, Any] = {
        "n_train": len(data.training),
        "n_valid": len(data.validation),
        "seeds": _member_seeds(config),
        "train": error_summary(each_error(model, data.training, batch_size, device)),
    }
    if histories:
        metrics["epochs"] = [len(history) for history in histories]
    if data.validation:
        metrics["valid"] = error_summary(each_error(model, data.validation, batch_size, device))
    return metrics


def _batch_size(config: TrainConfig) -> int:
    """Frames at once where no weights' gradients are kept."""
    return 4 * config.optimiser.batch_size
