"""What lies where in a run's directory, and whether a run may be begun or continued there.

It holds config.yaml, metrics.csv (one row an epoch), tensorboard/, checkpoints/last.ckpt (written whole after every
epoch), members.pt (each member's best weights), model.pt (exported), and pretrain/ (labels of a head start). Members
trained one by one have a folder of the same kind each, members/0, members/1, ...
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..config import TrainConfig
from ..durable import write_bytes
from ..oracle.calculators import HOW_IT_IS_RUN
from ..same_run import differences, with_later_keys
from ..tensor_file import read_tensors, write_tensors

MODEL_FILE = "model.pt"
CONFIG_FILE = "config.yaml"
MEMBERS_FILE = "members.pt"
METRICS_FILE = "metrics.csv"
PRETRAIN_FOLDER = "pretrain"
LAST_CHECKPOINT = Path("checkpoints") / "last.ckpt"
FREE_ON_RESUME = (
    "directory",
    "device",
    "devices",
    "nodes",
    "initial",
    "optimiser.patience",
    "data.cache",
    "data.cache_workers",
    "committee.training",
    "committee.workers",
    "committee.cluster",
    *(f"pretrain.oracle.{key}" for key in HOW_IT_IS_RUN),
)
"""Keys that a continued run may change without becoming a different run: the initial model may have moved."""

Row = dict[str, float]
"""Of metrics.csv, and of a fit's history."""
Checkpoint = dict[str, Any]
"""Tensors and plain values: the fit's own (`CommitteeFit.checkpoint`), and `FitFolder.facts`."""


def member_folder(directory: Path, member: int) -> Path:
    """Of a member that is trained by itself."""
    return directory / "members" / str(member)


@dataclass(frozen=True)
class FitFolder:
    """Where one fit keeps its epochs: the run's directory, or the folder of a member that is trained by itself."""

    path: Path
    facts: Mapping[str, Any]
    """What a checkpoint says beside the state of the fit: config, and frames that were trained on."""
    checkpoint: Checkpoint | None
    """Of the last epoch that was finished before, where the run is continued."""
    watch: Callable[[Sequence[Row]], None] | None = None
    """Told of all epochs after each, when it is on disk."""

    def keep_epoch(self, state: Checkpoint, history: Sequence[Row]) -> None:
        """Write the checkpoint of an epoch's end, and metrics.csv."""
        write_tensors(self.path / LAST_CHECKPOINT, state | dict(self.facts))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_bytes(self.path / METRICS_FILE, text.getvalue().encode())
        if self.watch is not None:
            self.watch(history)


class RunDirectory:
    """The directory of one run; each checkpoint in it is read once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._read: dict[Path, Checkpoint] = {}

    @property
    def model_file(self) -> Path:
        """The exported model."""
        return self.path / MODEL_FILE

    def begin(self, config: TrainConfig, resume: bool) -> Checkpoint | None:
        """Make the directory, or find the run to continue: the first checkpoint in it.

        Raises ValueError where there is one and it is not to be continued, or is of another config.
        """
        found = [folder / LAST_CHECKPOINT for folder in self._folders() if (folder / LAST_CHECKPOINT).is_file()]
        if not found:
            self.path.mkdir(parents=True, exist_ok=True)
            return None
        if not resume:
            raise ValueError(
                f"{self.path}: holds a run already ({found[0]}); continue it with --resume, or choose another directory"
            )
        checkpoint = self._read[found[0]] = read_tensors(found[0])
        now = config.model_dump(mode="json")
        different = differences(with_later_keys(checkpoint["config"]), now, FREE_ON_RESUME)
        if different:
            raise ValueError(f"{self.path}: cannot continue with another config: {'; '.join(different)}")
        together = found[0] == self.path / LAST_CHECKPOINT
        if together != (config.committee.training == "together"):
            before, allowed = ("together", "together") if together else ("one by one", "one_by_one or parallel")
            raise ValueError(
                f"{self.path}: its members were trained {before}; committee.training is {config.committee.training}, "
                f"allowed to continue is {allowed}"
            )
        return checkpoint

    def fit_folder(self, config: TrainConfig, provenance: Mapping[str, Any], member: int | None = None) -> FitFolder:
        """Where all members are trained together, or one of them; `provenance`: of the frames (`TrainingData`)."""
        path = self.path if member is None else member_folder(self.path, member)
        file = path / LAST_CHECKPOINT
        checkpoint = self._read.pop(file, None)
        if checkpoint is None and file.is_file():
            checkpoint = read_tensors(file)
        return FitFolder(path, {"config": config.model_dump(mode="json")} | dict(provenance), checkpoint)

    def write_config(self, config: TrainConfig) -> None:
        """Write config.yaml, every key with its value."""
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        write_bytes(self.path / CONFIG_FILE, text.encode())

    def write_members(self, content: dict[str, Any]) -> None:
        """Write members.pt."""
        write_tensors(self.path / MEMBERS_FILE, content)

    def what_is_kept(self, length: str) -> str:
        """For people whose training of that `length` was interrupted: what is on disk, and how to go on."""
        found = [folder for folder in self._folders() if (folder / LAST_CHECKPOINT).is_file()]
        if not found:
            return f"no epoch was finished in {self.path}; start again"
        epochs = [str(read_tensors(folder / LAST_CHECKPOINT)["epoch"]) for folder in found]
        if len(found) == 1:
            return f"epoch {epochs[0]} of {length} is kept in {found[0]}; continue with --resume"
        return f"epochs {', '.join(epochs)} of {length} are kept in {found[0].parent}; continue with --resume"

    def _folders(self) -> list[Path]:
        """That of the run and those of its members, in order."""
        return [self.path, *sorted(self.path.glob("members/*"), key=lambda folder: (len(folder.name), folder.name))]
