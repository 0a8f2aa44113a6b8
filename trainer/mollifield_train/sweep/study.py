"""What is tried next: Optuna, with its SQLite database in the sweep's directory. One process writes there."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from .spaces import Label

SAMPLERS: dict[str, type[RandomSampler] | type[TPESampler]] = {"tpe": TPESampler, "random": RandomSampler}
_NAME = "sweep"
Labels = Mapping[str, Label]
"""Values of keys, by what the optimiser calls them."""


class Study:
    """Trials by number, from 0: drawn, then finished with values, or failed."""

    def __init__(self, study: optuna.Study, space: Mapping[str, BaseDistribution], sampler: str, seed: int) -> None:
        self._study, self._space = study, dict(space)
        self._sampler, self._seed = SAMPLERS[sampler], seed

    def begun(self) -> dict[int, Labels]:
        """All trials with the values that were drawn for them, in the order of the keys; failed ones too."""
        trials = [trial for trial in self._study.get_trials(deepcopy=False) if self._whole(trial)]
        return {trial.number: {key: trial.params[key] for key in self._space} for trial in trials}

    def running(self) -> list[int]:
        """Those that were not finished, for the sweep was killed."""
        trials = self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return [trial.number for trial in trials if self._whole(trial)]

    def draw(self) -> int:
        """Another trial; its number."""
        self._study.sampler = self._sampler_of(len(self._study.get_trials(deepcopy=False)))
        return self._study.ask(self._space).number

    def finish(self, number: int, values: list[float]) -> None:
        """A trial has come to its end."""
        self._study.tell(number, values)

    def fail(self, number: int) -> None:
        """It has failed."""
        self._study.tell(number, state=TrialState.FAIL)

    def drop_torn(self) -> None:
        """Mark trials as failed that a kill met before all their values were drawn; nobody counts them."""
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if not self._whole(trial):
                self.fail(trial.number)

    def _whole(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() == self._space.keys()

    def _sampler_of(self, number: int) -> BaseSampler:
        """Drawn anew for each trial: one that started again after a kill would repeat its first draws."""
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        return self._sampler(seed=seed)


@contextlib.contextmanager
def open_study(
    path: Path, space: Mapping[str, BaseDistribution], n_objectives: int, sampler: str, seed: int
) -> Iterator[Study]:
    """The study in the database `path`, which is made where there is none."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
    try:
        study = optuna.create_study(
            storage=storage, study_name=_NAME, directions=["minimize"] * n_objectives, load_if_exists=True
        )
        yield Study(study, space, sampler, seed)
    finally:
        storage.remove_session()
        storage.engine.dispose()
        optuna.logging.set_verbosity(before)
