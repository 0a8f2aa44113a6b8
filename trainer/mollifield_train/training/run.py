"""Train a committee: frames in, one model.pt out.

A run's directory holds config.yaml, metrics.csv (one row an epoch), tensorboard/, checkpoints/last.ckpt
(written whole after every epoch), members.pt (each member's best weights) and model.pt (exported).
Members trained one by one have a folder of the same kind each, members/0, members/1, ...
"""

import csv
import dataclasses
import datetime
import io
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import lightning
import numpy as np
import torch
import yaml
from lightning.pytorch.loggers import TensorBoardLogger

from mollifield.artefact import choose_device

from .. import __version__
from ..config import TrainConfig, load_train_config
from ..data.batches import Graph
from ..data.frames import Frame
from ..data.shifts import least_absolute_shifts
from ..durable import write_bytes
from ..evaluate import FrameErrors, committee_errors, error_summary
from ..export import export
from ..model import DEFAULT_KIND
from ..model.protocol import Potential, Rescalable
from ..model.samples import one_member, stack_members
from ..tensor_file import read_tensors, write_tensors
from .lightning_fit import CommitteeFit, Row
from .loading import TrainingData, load_data
from .members import LAST_CHECKPOINT, MEMBERS_FILE, build_potential, load_members, pack, trained_before, warm_start
from .objective import Objective
from .progress import EpochBar, quiet_lightning

N_REFERENCE_FRAMES = 3
MODEL_FILE = "model.pt"
CONFIG_FILE = "config.yaml"
FREE_ON_RESUME = ("directory", "device", "optimiser.patience", "committee.training")
"""Keys that a continued run may change without becoming a different run."""
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
) -> TrainResult:
    """Train the committee of `config` and export it to directory/model.pt.

    `resume` continues from the last checkpoint, exactly; `initial` names trained members (a run's
    directory, members.pt or a checkpoint) whose weights and shifts are the start. `report` is told, a line each, what
    is odd about the data. Raises ValueError for unusable data, a directory in use, a resumed run of another config,
    and a loss that is not finite.
    """
    directory = Path(config.directory)
    device = choose_device(config.device)
    data, model = _data_and_model(config, initial, _prepare_directory(directory, config, resume))
    for note in data.notes:
        report(f"data: {note}")
    write_bytes(directory / CONFIG_FILE, _as_yaml(config).encode())
    with quiet_lightning():
        if config.committee.training == "together":
            seeds = _member_seeds(config)
            best, histories = _fit(config, data, model, seeds, directory, device, progress, "training")
            histories = [histories]
        else:
            best, histories = _fit_one_by_one(config, data, model, directory, device, progress)
    if data.statistics.shifts.fitted:
        found = committee_errors(best, data.training, _batch_size(config), device)
        refit_shifts(best, found, data.statistics.shifts.fitted)
    metrics = _metrics(config, best, data, histories, device)
    content = {"potential": pack(best), "metrics": metrics} | data.provenance()
    write_tensors(directory / MEMBERS_FILE, content)
    _export(config, best, data, directory / MODEL_FILE, metrics)
    return TrainResult(best, metrics, directory)


def what_is_kept(config: TrainConfig) -> str:
    """For people whose training was interrupted: what is on disk, and how to go on."""
    directory = Path(config.directory)
    folders = [directory, *(directory / "members" / str(m) for m in range(config.committee.n_members))]
    found = [folder for folder in folders if (folder / LAST_CHECKPOINT).is_file()]
    if not found:
        return f"no epoch was finished in {directory}; start again"
    epoch = read_tensors(found[-1] / LAST_CHECKPOINT)["epoch"]
    return f"epoch {epoch} of {config.optimiser.epochs} is kept in {found[-1]}; continue with --resume"


def export_run(directory: str | Path, path: str | Path) -> None:
    """Export the best weights that a run has so far, finished or not.

    The run's frames are read again for the reference frames. Raises ValueError if `directory` holds
    no run, or only some of the members of a committee trained one by one.
    """
    directory = Path(directory)
    model = load_members(directory)
    config = load_train_config(directory / CONFIG_FILE)
    if model.n_members != config.committee.n_members:
        raise ValueError(f"{directory}: holds {model.n_members} of {config.committee.n_members} members")
    data = load_data(config, model, trained_before(directory))
    metrics = _metrics(config, model, data, [], choose_device(config.device))
    _export(config, model, data, Path(path), metrics)


def _export(config: TrainConfig, model: Potential, data: TrainingData, path: Path, metrics: dict[str, Any]) -> None:
    frames = [_as_atoms(graph.frame) for graph in _smallest(data.training)]
    path.parent.mkdir(parents=True, exist_ok=True)
    training = [_as_atoms(graph.frame) for graph in data.training]
    undetermined = data.statistics.shifts.undetermined
    export(
        model,
        path,
        frames,
        _summary(config, metrics),
        training_frames=training,
        labels=data.labels,
        undetermined_species=undetermined,
    )


def refit_shifts(model: Potential, predicted: Sequence[FrameErrors], species: Sequence[str]) -> None:
    """Move each member's energy shifts of `species` to where its absolute error on the training frames is least.

    Forces do not depend on the shifts, and gradient steps approach their best values slowly: a
    short run would keep an offset that the initial weights left, and that would pass for
    disagreement between members. Absolute errors, because frames chosen for their uncertainty have
    large ones that should not shift all others.
    """
    predicted = [found for found in predicted if found.frame.energy is not None]
    if not predicted:
        return
    frames = [found.frame for found in predicted]
    residuals = np.stack([found.frame.energy - found.energies for found in predicted], axis=1)
    columns = [model.species.index(symbol) for symbol in species]
    model.atomic_shifts[:, columns] += torch.from_numpy(least_absolute_shifts(frames, residuals, species))


def bootstrap_weights(n_frames: int, seed: int) -> np.ndarray:
    """How often each frame is drawn when `n_frames` are drawn with replacement: [n_frames] float64."""
    rng = np.random.default_rng([seed, 2])
    return rng.multinomial(n_frames, np.full(n_frames, 1.0 / n_frames)).astype(np.float64)


def _data_and_model(
    config: TrainConfig, initial: str | Path | None, checkpoint: dict[str, Any] | None
) -> tuple[TrainingData, Potential]:
    """What to train, and on what; a continued run has the split that it began with."""
    if initial is None:
        before = [] if checkpoint is None else checkpoint["trained_before"]
        data = load_data(config, trained_before=before)
        return data, build_potential(config, data.statistics, config.seed, config.committee.n_members)
    model, before = warm_start(config, initial)
    if checkpoint is not None:
        before = checkpoint["trained_before"]
    data = load_data(config, model, before)
    note = refresh_scale(model, data.statistics.force_scale)
    return dataclasses.replace(data, notes=[*data.notes, *note]), model


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


def _fit_one_by_one(
    config: TrainConfig, data: TrainingData, committee: Potential, directory: Path, device: torch.device, progress: bool
) -> tuple[Potential, list[list[Row]]]:
    members, histories = [], []
    for m, seed in enumerate(_member_seeds(config)):
        model = one_member(committee, m)
        name = f"member {m + 1} of {config.committee.n_members}"
        folder = directory / "members" / str(m)
        best, history = _fit(config, data, model, [seed], folder, device, progress, name)
        members.append(best)
        histories.append(history)
    return stack_members(members), histories


def _fit(
    config: TrainConfig,
    data: TrainingData,
    model: Potential,
    seeds: Sequence[int],
    directory: Path,
    device: torch.device,
    progress: bool,
    name: str,
) -> tuple[Potential, list[Row]]:
    """One Lightning fit of one model, continued where `directory` holds a checkpoint."""
    epochs = config.optimiser.epochs
    n_steps = epochs * -(-len(data.training) // config.optimiser.batch_size)
    weights = None
    if config.committee.bootstrap:
        rows = [bootstrap_weights(len(data.training), seed) for seed in seeds]
        weights = torch.from_numpy(np.stack(rows))
    fit = CommitteeFit(
        model,
        Objective(config.loss, data.statistics.force_scale, config.seed, n_steps),
        config.optimiser,
        data.training,
        data.validation,
        config.seed,
        weights,
        lambda fit: _save_epoch(fit, directory, config, data),
    )
    checkpoint = directory / LAST_CHECKPOINT
    if checkpoint.is_file():
        fit.resume(read_tensors(checkpoint))
    if fit.finished_epochs < epochs and not fit.out_of_patience:
        trainer = lightning.Trainer(
            accelerator="cuda" if device.type == "cuda" else "cpu",
            devices=1 if device.index is None else [device.index],
            max_epochs=epochs - fit.finished_epochs,
            logger=TensorBoardLogger(directory, name="tensorboard", version=""),
            callbacks=[EpochBar(name, epochs)] if progress else [],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,
            num_sanity_val_steps=0,
            limit_val_batches=1.0 if data.validation else 0,
            log_every_n_steps=1,
        )
        trainer.fit(fit)
    return fit.best_model(), fit.history


def _save_epoch(fit: CommitteeFit, directory: Path, config: TrainConfig, data: TrainingData) -> None:
    content = fit.checkpoint() | {"config": config.model_dump(mode="json")} | data.provenance()
    write_tensors(directory / LAST_CHECKPOINT, content)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fit.history[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(fit.history)
    write_bytes(directory / "metrics.csv", text.getvalue().encode())


def _prepare_directory(directory: Path, config: TrainConfig, resume: bool) -> dict[str, Any] | None:
    """Refuse to overwrite a run, and to continue one of another config; a checkpoint of the run to continue."""
    folders = [directory, *sorted(directory.glob("members/*"))]
    found = [folder / LAST_CHECKPOINT for folder in folders if (folder / LAST_CHECKPOINT).is_file()]
    if found and not resume:
        raise ValueError(
            f"{directory}: holds a run already ({found[0]}); continue it with --resume, or choose another directory"
        )
    if not found:
        directory.mkdir(parents=True, exist_ok=True)
        return None
    checkpoint = read_tensors(found[0])
    before = {"model.kind": DEFAULT_KIND} | _flatten(checkpoint["config"])  # older ones have no kind
    now = _flatten(config.model_dump(mode="json"))
    different = [
        f"{key} was {before.get(key)}, is {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if key not in FREE_ON_RESUME and before.get(key) != now.get(key)
    ]
    if different:
        raise ValueError(f"{directory}: cannot continue with another config: {'; '.join(different)}")
    return checkpoint


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _member_seeds(config: TrainConfig) -> list[int]:
    return [config.seed + m for m in range(config.committee.n_members)]


def _as_yaml(config: TrainConfig) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _as_atoms(frame: Frame) -> ase.Atoms:
    return ase.Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)


def _smallest(graphs: Sequence[Graph]) -> list[Graph]:
    """A few small frames: every engine recomputes them whenever it loads the file."""
    return sorted(graphs, key=lambda graph: (graph.edge_index.shape[1], graph.index))[:N_REFERENCE_FRAMES]


def _metrics(
    config: TrainConfig, model: Potential, data: TrainingData, histories: list[list[Row]], device: torch.device
) -> dict[str, Any]:
    batch_size = _batch_size(config)
    metrics: dict[str, Any] = {
        "n_train": len(data.training),
        "n_valid": len(data.validation),
        "seeds": _member_seeds(config),
        "train": error_summary(committee_errors(model, data.training, batch_size, device)),
    }
    if histories:
        metrics["epochs"] = [len(history) for history in histories]
    if data.validation:
        predicted = committee_errors(model, data.validation, batch_size, device)
        metrics["valid"] = error_summary(predicted)
    return metrics


def _batch_size(config: TrainConfig) -> int:
    """Frames at once where no weights' gradients are kept."""
    return 4 * config.optimiser.batch_size


def _summary(config: TrainConfig, metrics: dict[str, Any]) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.timezone.utc)
    versions = {
        "mollifield": __version__,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "ase": ase.__version__,
        "python": platform.python_version(),
    }
    return {
        "date": now.isoformat(timespec="seconds"),
        "metrics": metrics,
        "config": config.model_dump(mode="json"),
        "versions": versions,
    }
