"""A barrier that is learnt where it matters: images of the band are labelled, and the committee is trained again.

Each round relaxes the band on the newest committee and asks the oracle for the first and the highest image, whose
difference checks the barrier. Where that, or the error bar, is above the tolerance, the most uncertain other images are
asked for too, and the committee is trained from its weights on what it knew and all that was asked for. A killed run
goes on when it is started again: labels are in a store, trainings in folders of their own; bands are relaxed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from mollifield import MollifieldCalculator
from mollifield.artefact import Artefact, read_posterior
from mollifield.properties import Report

from ..calibrate.fitting import calibrate_file
from ..config import OriginConfig, TrainConfig, validated
from ..data.keys import REFERENCE_KEYS
from ..durable import only_process, replacing
from ..oracle.labels import Label
from ..training.run import train
from ..training.run_directory import LAST_CHECKPOINT, MODEL_FILE
from .barrier_config import LearnConfig
from .dataset import with_reference
from .explore.trajectory import snapshot
from .label.labelling import label_chosen
from .store import FAILED, Store, content_key

BAND = "band"
"""The arm of its frames in the store."""
Measure = Callable[[MollifieldCalculator, Sequence[Atoms]], Report]
"""A barrier with its error bars, from a band to begin with."""


@dataclass(frozen=True)
class Round:
    """What one model said, and the oracle of it."""

    model: Path
    report: Report
    n_labels: int
    """That the model has learnt, beyond those of the first."""
    of_oracle: float | None = None
    """eV: the oracle's energy at the highest image above that at the first; None where it was not asked, or failed."""

    @property
    def barrier(self) -> float:
        """eV."""
        return float(self.report.estimates["forward"].value)

    @property
    def interval(self) -> float:
        """eV, half of it."""
        interval = self.report.estimates["forward"].interval
        return float("inf") if interval is None else float(interval)

    def known(self, tolerance: float) -> bool:
        """Whether the error bar and the difference from the oracle are within it (eV)."""
        checked = self.of_oracle is not None and abs(self.of_oracle - self.barrier) <= tolerance
        return checked and self.interval <= tolerance

    def __str__(self) -> str:
        oracle = "" if self.of_oracle is None else f"; the oracle at its images: {self.of_oracle:.4f} eV"
        return f"after {self.n_labels} labels {self.barrier:.4f} ± {self.interval:.4f} eV{oracle}"

    def as_dict(self) -> dict[str, Any]:
        """For a file."""
        return {
            "model": str(self.model),
            "n_labels": self.n_labels,
            "forward": self.barrier,
            "interval": self.interval,
            "of_oracle": self.of_oracle,
        }


def learn_barrier(
    model: Path,
    structures: Sequence[Atoms],
    config: LearnConfig,
    folder: Path,
    measure: Measure,
    say: Callable[[str], None] = print,
    device: str = "cpu",
) -> list[Round]:
    """All rounds, in `folder`; the last one has the barrier.

    Raises ValueError for a model that cannot be trained on, a band that does not relax, and an oracle that fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with only_process(folder / "lock", "learning"):
        asked = _Asked(folder, config, say)
        rounds: list[Round] = []
        while True:
            calculator = MollifieldCalculator(model, device)
            _require_trainable(calculator.artefact)
            report = measure(calculator, structures)
            n_labels = len(asked.known)
            structures = images = report.finding.visited
            check, others = _order(report)
            found = Round(model, report, n_labels)
            new = [images[k] for k in others if asked.is_new(images[k])][: config.batch - len(check)]
            # Where nothing but the check is missing, nothing else is asked for yet.
            at_once = [] if found.interval <= config.tolerance else new
            first, top, *_ = asked.labels_of([*(images[k] for k in check), *at_once])
            if first is not None and top is not None:
                found = replace(found, of_oracle=top.energy - first.energy)
            rounds.append(found)
            say(f"round {len(rounds) - 1}: {found}")
            if found.known(config.tolerance):
                return rounds
            asked.labels_of(new)
            if len(asked.known) == n_labels:
                say(f"not known to {config.tolerance:g} eV: {asked.why_no_more()}")
                return rounds
            # By the labels, of which a larger budget brings others into a round.
            model = _trained(calculator.artefact, asked.known, config, folder / f"labels-{len(asked.known)}", say)


class _Asked:
    """What the oracle was asked for in this run, in the order of asking."""

    def __init__(self, folder: Path, config: LearnConfig, say: Callable[[str], None]) -> None:
        self._store, self._spool = Store(folder / "frames.db"), folder / "labels"
        self._spool.mkdir(exist_ok=True)
        self._config, self._say = config, say
        self._contents: list[str] = []

    @property
    def n_left(self) -> int:
        """Labels within the budget."""
        return self._config.budget - len(self._contents)

    @property
    def known(self) -> list[tuple[Atoms, Label]]:
        """Frames and their labels."""
        found = {}
        for row in self._store.frames(arm=BAND):
            label = self._store.find_label(row.columns["content"])
            if label is not None:
                found[row.columns["content"]] = row.atoms, label[0]
        return [found[content] for content in self._contents if content in found]

    def why_no_more(self) -> str:
        """Nothing was asked for."""
        if self.n_left == 0:
            return f"the budget of {self._config.budget} labels is spent; with a larger one the same command goes on"
        return "all images of the band have labels; longer trainings (`warm`), in another folder, may help"

    def is_new(self, atoms: Atoms) -> bool:
        """Whether it was not asked for."""
        return content_key(atoms) not in self._contents

    def labels_of(self, images: Sequence[Atoms]) -> list[Label | None]:
        """Of these, computed where there is none and the budget allows; None: none. Raises ValueError: all fail."""
        frames = {content_key(atoms): snapshot(atoms, 0) for atoms in images}
        new = [content for content in frames if content not in self._contents][: self.n_left]
        self._contents += new
        self._store.add_given([frames[content] for content in new], source=BAND, arm=BAND)
        label_chosen(self._store, self._config.oracle, self._spool, BAND, report=self._say)
        found = [self._store.find_label(content_key(atoms)) for atoms in images]
        failed = [row.columns["reason"] for row in self._store.frames(arm=BAND, status=FAILED)]
        if failed and not any(found):
            raise ValueError(f"the oracle labels none of {len(images)} images: {failed[-1]}")
        return [None if label is None else label[0] for label in found]


def _order(report: Report) -> tuple[list[int], list[int]]:
    """The first image and the highest, which check the barrier, and the others, the most uncertain first."""
    path = report.estimates["path"]
    check = [0, int(np.argmax(path.value))]
    stds = np.zeros(len(path.value)) if path.std is None else path.std
    return check, [int(k) for k in np.argsort(-stds, kind="stable") if k not in check]


def _require_trainable(artefact: Artefact) -> None:
    if read_posterior(artefact) is not None:
        raise ValueError(
            f"{artefact.path}: samples of a posterior are not trained further; give the committee they are of"
        )
    if "config" not in artefact.summary:
        raise ValueError(f"{artefact.path}: says nothing of how it was trained; give the model.pt of a training")


def _trained(
    artefact: Artefact,
    known: Sequence[tuple[Atoms, Label]],
    config: LearnConfig,
    folder: Path,
    say: Callable[[str], None],
) -> Path:
    """The model file of a training from the weights of `artefact`, in `folder`, once."""
    model = folder / MODEL_FILE
    if model.exists():
        return model
    settings = _training(artefact, known, config, folder)
    resume = (Path(settings.directory) / LAST_CHECKPOINT).exists()
    found = train(settings, resume=resume, progress=False, report=say).directory / MODEL_FILE
    if config.calibrate is not None:
        calibrate_file(found, config.calibrate, folder / "calibrated.pt", device=settings.device)
        found = folder / "calibrated.pt"
    # Copied last: this file's existence says that the round is trained.
    with replacing(model) as temporary:
        temporary.write_bytes(found.read_bytes())
    return model


def _training(
    artefact: Artefact, known: Sequence[tuple[Atoms, Label]], config: LearnConfig, folder: Path
) -> TrainConfig:
    """As the model was trained, on the new labels too; all frames that are not for validation are trained on."""
    name = f"{artefact.path}: its config"
    before = validated(TrainConfig, artefact.summary["config"], name)
    with_stress = "stress" in (artefact.labels or [])
    frames = [with_reference(atoms, label, with_stress) for atoms, label in known]
    labelled = folder / "labelled.extxyz"
    with replacing(labelled) as temporary:
        ase.io.write(temporary, frames, format="extxyz")
    origin = OriginConfig(
        files=str(labelled),
        energy_key=REFERENCE_KEYS["energy"],
        forces_key=REFERENCE_KEYS["forces"],
        stress_key=REFERENCE_KEYS["stress"] if any(REFERENCE_KEYS["stress"] in one.info for one in frames) else None,
    )
    own = before.data.train if config.train is None else config.train
    files = [own] if isinstance(own, str) else own
    # Frames of earlier rounds are among those of this one.
    files = [file for file in files if not Path(file).is_relative_to(folder.parent)]
    origins = [one for one in before.data.origins if not Path(one.files).is_relative_to(folder.parent)]
    data = before.data.model_copy(
        update={"train": [*files, str(labelled)], "valid_fraction": 0.0, "origins": [origin, *origins]}
    )
    optimiser = before.optimiser.model_copy(update={"minutes": None} | config.warm.model_dump())
    update = {"directory": str(folder / "training"), "data": data, "optimiser": optimiser}
    return before.model_copy(update=update | {"initial": str(artefact.path), "pretrain": None})
