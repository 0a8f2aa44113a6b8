"""The steps of a round. Each looks at what is there, does what is missing, and can be killed.

What is done follows from the store and from files that appear whole or not at all:

=========  ============================================================================
step       is done when
=========  ============================================================================
explore    `trajectory-<i>.json` exists for every trajectory (candidates are in the store)
spend      the round has `batch` new labels and no `chosen` frames left; or `model.pt`
           exists, where the candidates ran out
train      `model.pt` exists
evaluate   `metrics.json` exists (`predictions.npz` beside it is written first)
=========  ============================================================================

To spend a round's budget is to choose frames, have them labelled, and replace those that failed: by other
candidates, and by those of further trajectories. What is to be done next follows from the statuses of the round's
frames alone, which change in one transaction each.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms

from ..durable import read_json, replacing, write_json
from .acquire import acquisition
from .acquire.scene import Scene
from .committee import Committee, mean_force_std
from .config import LoopConfig
from .cut import CLUSTER, Cut, cut_out
from .explore.config import TimesTraining
from .explore.trajectory import Exploration, Task, system_of, write_trace
from .finish import FRESH_STD, fresh_std, rounds_to_do
from .guard import Guard
from .label.labelling import label_chosen
from .parts import CALIBRATION_FILE, Parts, Paths, TrainTask
from .scores import force_rmse_by, predict_frames, summarise
from .sides import side_rule
from .start import is_isolated_atom
from .starts import start_order
from .store import (
    CANDIDATE,
    FAILED,
    GIVEN,
    LABELLED,
    REGULAR,
    TEST_SET,
    THRESHOLD,
    TRAIN,
    VALIDATION,
    Candidate,
    Store,
    StoredFrame,
)
from .systems import Pool, explorer_of, labels_a_round, next_to_walk, planned, pools, systems_of
from .tallies import counts, counts_by_system

Say = Callable[[str], None]
MAX_TRIES = 3
"""A round sends at most this many times `batch` frames to the oracle: one that is broken ends some day."""
_STREAM = 7
"""Keeps acquisitions' random numbers apart from those of trajectories."""


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
        """All rounds, until somebody asks for a pause."""
        number = 0
        while number < (last := rounds_to_do(self.config, self.paths, self.arm))[0]:
            number += 1
            for step in (self.explore, self.spend, self.train, self.evaluate):
                if self.paths.pause.exists():
                    self.say(f"round {number}: paused before '{step.__name__}'")
                    return
                step(number)
        if last[1]:
            self.say(f"round {number}: finished, {last[1]}")

    def explore(self, number: int) -> None:
        """Run the trajectories that are missing and store their frames as candidates."""
        plan = planned(self.config)
        for system in systems_of(self.config):
            self._run_trajectories(number, system, [index for index in self._missing(number) if plan[index] == system])

    def _missing(self, number: int) -> range:
        return range(len(self._walked(number)), len(planned(self.config)))

    def _folder(self, number: int) -> Path:
        return self.paths.round(self.arm, number)

    def _committee(self, number: int) -> Committee:
        """The one that a round explores and chooses with."""
        return self.parts.load_committee(self._folder(number - 1) / "model.pt")

    def _walked(self, number: int) -> list[str]:
        """The system of each trajectory of a round that is done."""
        files = (self._folder(number) / f"trajectory-{index}.json" for index in count())
        return [system_of(file) for file in takewhile(Path.exists, files)]

    def _run_trajectories(self, number: int, system: str, indices: Sequence[int]) -> None:
        """`indices`: among all trajectories of the round, those that are done and those planned before them."""
        if not indices:
            return
        settings = explorer_of(self.config, system)
        committee = self._committee(number)
        given, found = self._starts(number, system)
        training_std = mean_force_std(committee, given + found)
        select = threshold(settings.select, training_std)
        stop = None if settings.stop is None else threshold(settings.stop, training_std)
        if stop is not None and stop < select:
            self.say(f"round {number}: stop ({stop:.3f} eV/Å) is below select ({select:.3f} eV/Å)")
        guard = self._guard(system)
        starts = start_order(given, found, self.config.seed, number)
        position = list(systems_of(self.config)).index(system)
        plan = planned(self.config)
        before = (plan if indices[0] < len(plan) else self._walked(number))[: indices[0]]
        for own, index in enumerate(indices, start=before.count(system)):
            # The same for every arm: arms differ in what they learnt, not in their luck.
            seed = np.random.SeedSequence([self.config.seed, number, own, position]).generate_state(1)[0]
            work = self._folder(number) / f"trajectory-{index}"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            task = Task(
                model=self._folder(number - 1) / "model.pt",
                start=starts[own % len(starts)],
                directory=work,
                seed=int(seed) % 900_000_000 + 1,
                select=select,
                stop=stop,
                why_unphysical=guard,
                device=self.config.training.device,
                index=own,
            )
            self._keep(number, index, system, self.parts.explore(task, settings), task, committee)

    def _starts(self, number: int, system: str) -> tuple[list[Atoms], list[Atoms]]:
        """Frames that trajectories of a round may start from: given ones, and those found before.

        Those that are trained on; a system whose few frames are all for validation starts from these.
        """
        labelled = [f for f in self.store.labelled_frames(self.arm, number - 1) if f.system == system]
        labelled = [f for f in labelled if not is_isolated_atom(f.atoms) and f.columns.get("cut") != CLUSTER]
        frames = [frame for frame in labelled if frame.columns["side"] == TRAIN] or labelled
        return (
            [frame.atoms for frame in frames if frame.columns["arm"] == GIVEN],
            [frame.atoms for frame in frames if frame.columns["arm"] != GIVEN],
        )

    def _keep(self, number: int, index: int, system: str, found: Exploration, task: Task, committee: Committee) -> None:
        """Store what a trajectory found; its trace, written last, says that it is done."""
        saved = [(frame, THRESHOLD) for frame in found.uncertain] + [(frame, REGULAR) for frame in found.regular]
        candidates = []
        for frame, source in saved:
            if source not in self.config.arms[self.arm].DRAWS_FROM:
                continue
            reason = task.why_unphysical(frame)
            std = -1.0 if reason else float(committee.predict(frame).forces_std.max())
            candidates.append(Candidate(frame, int(frame.info["step"]), std, source, reason))
        self.store.replace_candidates(self.arm, number, index, candidates, system)
        write_trace(self._folder(number) / f"trajectory-{index}.json", found.trace, task.select, system)
        n_discarded = len({candidate.step for candidate in candidates if candidate.reason is not None})
        self.say(
            f"round {number}: trajectory {index + 1}{f' ({system})' * bool(system)}: {found.trace.n_steps} steps, "
            f"{found.trace.end}; {len(found.uncertain)} frames above {task.select:.3f} eV/Å, {n_discarded} discarded"
        )

    def spend(self, number: int) -> None:
        """Choose frames and have them labelled until the round has its `batch` of new labels.

        A failure is replaced. Where candidates run out, further trajectories look for more, and where those
        run out too, the round says what is missing.
        """
        if (self._folder(number) / "model.pt").exists():
            return
        self._end_further_trajectory(number)
        unspent = pools(self.config)
        while unspent:
            label_chosen(self.store, self.config.oracle, self.paths.spool, self.arm, report=self.say)
            unspent = [pool for pool in unspent if self._goes_on(number, pool)]

    def _goes_on(self, number: int, pool: Pool) -> bool:
        """Choose frames or look for more, where a pool has neither spent its budget nor run out of both."""
        rows = self.store.columns(arm=self.arm, round=number)
        status = Counter(row["status"] for row in rows if row.get("system", "") in pool.systems)
        short = pool.batch - status[LABELLED]
        left = MAX_TRIES * pool.batch - status[LABELLED] - status[FAILED]
        if short <= 0:
            why = "the budget is spent"
        elif left <= 0:
            why = f"{short} MISSING: the oracle failed too often"
        else:
            n_tried = status[LABELLED] + status[FAILED]
            if status[CANDIDATE] and self._choose(number, pool, n_tried, min(short, left)):
                return True
            if self._explore_further(number, pool):
                return True
            n_trajectories = sum(system in pool.systems for system in self._walked(number))
            why = f"{short} MISSING: no candidates left in {n_trajectories} trajectories"
        self.say(f"round {number}: {pool.prefix}{status[LABELLED]} new labels, {status[FAILED]} frames failed; {why}")
        return False

    def _explore_further(self, number: int, pool: Pool) -> bool:
        """One more trajectory, if the round may have one."""
        walked = self._walked(number)
        system = next_to_walk(self.config, pool, walked)
        if system is None:
            return False
        self.say(f"round {number}: {pool.prefix}too few candidates, another trajectory")
        self._run_trajectories(number, system, [len(walked)])
        return True

    def _end_further_trajectory(self, number: int) -> None:
        """Run again what was killed between its candidates and its trace, before any of these is chosen."""
        index = len(self._walked(number))
        for frame in self.store.frames(arm=self.arm, round=number, trajectory=index)[:1]:
            self._run_trajectories(number, frame.system, [index])

    def _choose(self, number: int, pool: Pool, n_tried: int, n_batch: int) -> int:
        """Mark frames of the round for labelling, each for training or for validation; how many.

        `n_tried`: frames of the pool that went to the oracle in this round before.
        """
        found = self.store.frames(arm=self.arm, round=number, status=CANDIDATE)
        found = [frame for frame in found if frame.system in pool.systems]
        found.sort(key=lambda frame: (frame.columns["trajectory"], frame.columns["step"]))
        known = [frame.atoms for frame in self.store.labelled_frames(self.arm, number)]
        scene = Scene(
            frames=[frame.atoms for frame in found],
            std=np.array([frame.columns["std"] for frame in found]),
            above=np.array([frame.columns["source"] == THRESHOLD for frame in found]),
            known=[atoms for atoms in known if not is_isolated_atom(atoms)],
            committee=self._committee(number),
            validation=self._labelled(number, VALIDATION),
        )
        of_pool = [pools(self.config).index(pool)] if pool.name else []
        rng = np.random.default_rng([self.config.seed, _STREAM, number, n_tried, *of_pool])
        choose = acquisition(self.config.arms[self.arm])
        chosen = [found[index] for index in choose(scene, n_batch, rng)]
        n_start = len(self.store.columns(arm=GIVEN, status=LABELLED))
        n_before = n_start + (number - 1) * labels_a_round(self.config)
        self.store.choose(
            [frame.id for frame in chosen], side_rule(self.config, n_before), self._cuts(number, scene, chosen)
        )
        self.say(f"round {number}: {pool.prefix}{len(chosen)} of {len(found)} candidates chosen")
        return len(chosen)

    def _cuts(self, number: int, scene: Scene, chosen: Sequence[StoredFrame]) -> dict[int, Cut]:
        """What is labelled in place of chosen frames that are too large, by the number of the row."""
        settings = self.config.cut
        found: dict[int, Cut] = {}
        large = [] if settings is None else [f for f in chosen if len(f.atoms) > settings.max_atoms]
        for frame in large:
            assert settings is not None
            centre = int(scene.committee.predict(frame.atoms).forces_std.argmax())
            cut = found[frame.id] = cut_out(frame.atoms, centre, settings, self._guard(frame.system))
            self.say(
                f"round {number}: frame {frame.id} of {len(frame.atoms)} atoms is cut around atom {centre} to "
                f"{len(cut.atoms)} ({cut.kind}){': WARNING: ' * bool(cut.warning)}{cut.warning}"
            )
        return found

    def _guard(self, system: str) -> Guard:
        began_with = [frame.atoms for frame in self.store.labelled_frames(GIVEN, 0) if frame.system == system]
        return Guard(self.config.guard, began_with)

    def train(self, number: int) -> None:
        """Train on all labels so far, warm from the round before."""
        folder = self.paths.round(self.arm, number)
        if (folder / "model.pt").exists():
            return
        frames = self._labelled(number, TRAIN)
        if not any(not is_isolated_atom(atoms) for atoms in frames):
            raise ValueError(f"{self.arm}, round {number}: no labelled frames to train on")
        valid = self._labelled(number, VALIDATION)
        besides = f", validating with {len(valid)}" if valid else ""
        self.say(f"round {number}: training on {len(frames)} frames{besides}")
        before, first = ((self._folder(n) / "training" if number else None) for n in (number - 1, 0))
        task = TrainTask(frames, valid, folder / "training", folder / "model.pt", before, first)
        self.parts.train(task, self.config)

    def _labelled(self, number: int, side: str) -> list[Atoms]:
        return [frame.atoms for frame in self.store.labelled_frames(self.arm, number, side)]

    def evaluate(self, number: int) -> None:
        """Predict the test frames; write the predictions and their summary."""
        folder = self._folder(number)
        if (folder / "metrics.json").exists():
            return
        committee = self.parts.load_committee(folder / "model.pt")
        tests = self.store.frames(arm=TEST_SET, status=LABELLED)
        arrays = predict_frames(committee, [frame.atoms for frame in tests])
        with replacing(folder / "predictions.npz") as temporary:
            np.savez(temporary, **cast(dict[str, Any], arrays))
        metrics: dict[str, Any] = {"arm": self.arm, "round": number} | counts(self.store, self.config, self.arm, number)
        metrics |= summarise(arrays)
        if self.config.systems is not None:
            of_systems = [frame.system for frame in tests]
            errors = force_rmse_by(arrays, of_systems)
            metrics["systems"] = counts_by_system(self.store, self.config, self.arm, number, errors)
        if (folder / "training" / CALIBRATION_FILE).exists():
            metrics["calibration"] = read_json(folder / "training" / CALIBRATION_FILE)
        if number and (std := fresh_std(folder)) is not None:
            metrics[FRESH_STD] = std
        write_json(folder / "metrics.json", metrics)
        self.say(f"round {number}: test force RMSE {1000 * metrics['force_rmse']:.0f} meV/Å")


def threshold(setting: float | TimesTraining, training_std: float) -> float:
    """A threshold in eV/Å. `training_std`: see `committee.mean_force_std`."""
    if isinstance(setting, TimesTraining):
        return setting.times_training * training_std
    return setting
