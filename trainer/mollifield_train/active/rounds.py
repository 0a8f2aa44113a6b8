"""The steps of a round. Each looks at what is there, does what is missing, and can be killed.

What is done follows from the store and from files that appear whole or not at all:

=========  ============================================================================
step       is done when
=========  ============================================================================
explore    ``trajectory-<i>.json`` exists for every trajectory (candidates are in the store)
select     the round has frames past ``candidate``
label      the round has no ``chosen`` frames left
train      ``model.pt`` exists
evaluate   ``metrics.json`` exists (``predictions.npz`` beside it is written first)
=========  ============================================================================
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms

from mollifield_train.active import acquisition
from mollifield_train.active.committee import Committee, LoadCommittee, mean_force_std
from mollifield_train.active.config import LoopConfig, TimesTraining
from mollifield_train.active.descriptors import frame_descriptor
from mollifield_train.durable import replacing, write_json
from mollifield_train.active.explorers import Explorer, Task
from mollifield_train.active.guard import count_fragments, why_unphysical
from mollifield_train.active.oracles import label_chosen
from mollifield_train.active.store import (
    CANDIDATE,
    CHOSEN,
    DISCARDED,
    GIVEN,
    LABELLED,
    TEST,
    Candidate,
    Store,
    StoredFrame,
)

Say = Callable[[str], None]
_RANDOM_CHOICE = 7
"""Keeps the random arm's choices apart from the trajectories' random numbers."""


@dataclass(frozen=True)
class TrainTask:
    """One training: ``frames`` into ``model``, which appears whole or not at all."""

    frames: Sequence[Atoms]
    directory: Path
    """For checkpoints and logs; a killed training continues from what is here."""
    model: Path
    initial: Path | None
    """Directory of the training whose weights are the start; none: random weights."""


class Trainer(Protocol):
    """Trains a committee; called again after a kill it continues."""

    def __call__(self, task: TrainTask, config: LoopConfig) -> None: ...


@dataclass(frozen=True)
class Parts:
    """The three things the loop is built from; tests put in small ones."""

    train: Trainer
    explore: Explorer
    load_committee: LoadCommittee


@dataclass(frozen=True)
class Paths:
    """Where things lie in the directory of a run."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "frames.db"

    @property
    def spool(self) -> Path:
        return self.root / "labels"

    def round(self, arm: str, number: int) -> Path:
        """Folder of a round; round 0 is the first training, which all arms share."""
        return self.root / "start" if number == 0 else self.root / arm / f"round-{number}"


@dataclass(frozen=True)
class ArmRun:
    """One arm of a run: everything its steps need to know."""

    arm: str
    config: LoopConfig
    paths: Paths
    store: Store
    parts: Parts
    say: Say

    def run(self) -> None:
        """All rounds."""
        for number in range(1, self.config.rounds + 1):
            self.explore(number)
            self.select(number)
            self.label(number)
            self.train(number)
            self.evaluate(number)

    def explore(self, number: int) -> None:
        """Run the trajectories that are missing and store their frames as candidates."""
        folder = self.paths.round(self.arm, number)
        missing = [
            index
            for index in range(self.config.explorer.n_trajectories)
            if not (folder / f"trajectory-{index}.json").exists()
        ]
        if not missing:
            return
        committee = self.parts.load_committee(self.paths.round(self.arm, number - 1) / "model.pt")
        trained_on = [f.atoms for f in self.store.training_frames(self.arm, number - 1)]
        training_std = mean_force_std(committee, trained_on)
        for index in missing:
            self._explore_one(number, index, committee, training_std)

    def _explore_one(
        self, number: int, index: int, committee: Committee, training_std: float
    ) -> None:
        folder = self.paths.round(self.arm, number)
        settings = self.config.explorer
        # The same for every arm: arms differ in what they learnt, not in their luck.
        seeds = np.random.SeedSequence([self.config.seed, number, index]).generate_state(2)
        given = self.store.frames(arm=GIVEN, status=LABELLED)
        select = threshold(settings.select, training_std)
        work = folder / f"trajectory-{index}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        found = self.parts.explore(
            Task(
                model=self.paths.round(self.arm, number - 1) / "model.pt",
                start=given[int(seeds[0]) % len(given)].atoms,
                directory=work,
                seed=int(seeds[1]) % 900_000_000 + 1,
                select=select,
                stop=None if settings.stop is None else threshold(settings.stop, training_std),
            ),
            settings,
        )
        max_fragments = max(count_fragments(f.atoms, self.config.guard.max_gap) for f in given)
        kept = [(frame, "regular") for frame in found.regular]
        if self.arm != "random":
            kept = [(frame, "threshold") for frame in found.uncertain] + kept
        candidates = [
            self._judge(frame, source, committee, max_fragments) for frame, source in kept
        ]
        self.store.replace_candidates(self.arm, number, index, candidates)
        n_discarded = sum(candidate.reason is not None for candidate in candidates)
        trace = dataclasses.asdict(found.trace)
        write_json(folder / f"trajectory-{index}.json", trace | {"select": select})
        self.say(
            f"round {number}: trajectory {index + 1} of {settings.n_trajectories}: "
            f"{found.trace.end} after {found.trace.step[-1] if found.trace.step else 0} steps, "
            f"{len(found.uncertain)} frames above {select:.3f} eV/Å, {n_discarded} discarded"
        )

    def _judge(
        self, frame: Atoms, source: str, committee: Committee, max_fragments: int
    ) -> Candidate:
        guard = self.config.guard
        reason = why_unphysical(frame, guard.min_distance, guard.max_gap, max_fragments)
        std = -1.0 if reason else float(committee.predict(frame).forces_std.max())
        return Candidate(frame, int(frame.info["step"]), std, source, reason)

    def select(self, number: int) -> None:
        """Choose the batch of this round."""
        frames = self.store.frames(arm=self.arm, round=number)
        if any(frame.columns["status"] not in (CANDIDATE, DISCARDED) for frame in frames):
            return
        pool = [frame for frame in frames if frame.columns["status"] == CANDIDATE]
        chosen = self._choose_random(pool, number) if self.arm == "random" else self._choose(
            pool, number
        )  # fmt: skip
        self.store.choose([frame.id for frame in chosen])
        self.say(f"round {number}: {len(chosen)} of {len(pool)} candidates chosen")

    def _choose_random(self, pool: list[StoredFrame], number: int) -> list[StoredFrame]:
        rng = np.random.default_rng([self.config.seed, _RANDOM_CHOICE, number])
        indices = acquisition.random_choice(len(pool), self.config.batch, rng)
        return [pool[index] for index in indices]

    def _choose(self, pool: list[StoredFrame], number: int) -> list[StoredFrame]:
        """Frames above the threshold first; if there are too few, the most uncertain others."""
        above = [frame for frame in pool if frame.columns["source"] == "threshold"]
        batch = self._best(above, number)
        short = self.config.batch - len(batch)
        rest = [frame for frame in pool if frame not in above]
        std = np.array([frame.columns["std"] for frame in rest])
        return batch + [rest[index] for index in acquisition.most_uncertain(std, short)]

    def _best(self, pool: list[StoredFrame], number: int) -> list[StoredFrame]:
        settings, batch = self.config.acquisition, self.config.batch
        std = np.array([frame.columns["std"] for frame in pool])
        if settings.kind == "most_uncertain" or not pool:
            return [pool[index] for index in acquisition.most_uncertain(std, batch)]
        committee = self.parts.load_committee(self.paths.round(self.arm, number - 1) / "model.pt")

        def describe(frames: Sequence[StoredFrame]) -> np.ndarray:
            return np.array(
                [
                    frame_descriptor(
                        committee.predict(frame.atoms).latent,
                        frame.atoms.numbers,
                        committee.species,
                        settings.descriptor,
                    )
                    for frame in frames
                ]
            )

        known = describe(self.store.training_frames(self.arm, number - 1))
        descriptors = describe(pool)
        if settings.kind == "farthest_points":
            indices = acquisition.farthest_points(descriptors, batch, known)
        else:
            indices = acquisition.uncertain_then_diverse(
                std, descriptors, batch, known, settings.pool_factor
            )
        return [pool[index] for index in indices]

    def label(self, number: int) -> None:
        """Have the chosen frames labelled."""
        n_chosen = len(self.store.frames(arm=self.arm, round=number, status=CHOSEN))
        if n_chosen == 0:
            return
        label_chosen(
            self.store, self.config.oracle, self.paths.spool, self.arm, report=self.say
        )
        n_failed = n_chosen - len(self.store.frames(arm=self.arm, round=number, status=LABELLED))
        self.say(f"round {number}: labelled, {max(n_failed, 0)} without success")

    def train(self, number: int) -> None:
        """Train on all labels so far, warm from the round before."""
        folder = self.paths.round(self.arm, number)
        if (folder / "model.pt").exists():
            return
        frames = [frame.atoms for frame in self.store.training_frames(self.arm, number)]
        if not frames:
            raise ValueError(f"{self.arm}, round {number}: no labelled frames to train on")
        self.say(f"round {number}: training on {len(frames)} frames")
        before = self.paths.round(self.arm, number - 1) / "training" if number else None
        self.parts.train(
            TrainTask(frames, folder / "training", folder / "model.pt", before), self.config
        )

    def evaluate(self, number: int) -> None:
        """Predict the test frames; write the predictions and their summary."""
        folder = self.paths.round(self.arm, number)
        if (folder / "metrics.json").exists():
            return
        committee = self.parts.load_committee(folder / "model.pt")
        frames = [frame.atoms for frame in self.store.frames(arm=TEST)]
        predictions = [committee.predict(atoms) for atoms in frames]
        reference = np.array([atoms.get_forces() for atoms in frames])
        energies = np.array([atoms.get_potential_energy() for atoms in frames])
        arrays = {
            "energy": np.array([p.energy for p in predictions]),
            "energy_std": np.array([p.energy_std for p in predictions]),
            "forces": np.array([p.forces for p in predictions]),
            "forces_std": np.array([p.forces_std for p in predictions]),
            "energy_reference": energies,
            "forces_reference": reference,
        }
        with replacing(folder / "predictions.npz") as temporary:
            np.savez(temporary, **arrays)
        energy_error = (arrays["energy"] - energies) / reference.shape[1]
        metrics = {
            "arm": self.arm,
            "round": number,
            "n_frames": len(self.store.training_frames(self.arm, number)),
            "oracle_calls": self.store.oracle_calls(self.arm, number),
            "force_rmse": float(np.sqrt(np.mean((arrays["forces"] - reference) ** 2))),
            "energy_rmse_per_atom": float(np.sqrt(np.mean(energy_error**2))),
            "mean_force_std": float(arrays["forces_std"].mean()),
            "max_force_std": float(arrays["forces_std"].max()),
        }
        write_json(folder / "metrics.json", metrics)
        self.say(f"round {number}: test force RMSE {1000 * metrics['force_rmse']:.0f} meV/Å")


def threshold(setting: float | TimesTraining, training_std: float) -> float:
    """A threshold in eV/Å. ``training_std``: see ``committee.mean_force_std``."""
    if isinstance(setting, TimesTraining):
        return setting.times_training * training_std
    return setting
