"""The config of the loop. Paths are relative to the working directory, as in a training config."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, SerializeAsAny, model_validator

from ..config import (
    CommitteeConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    PretrainConfig,
    Section,
    default_model,
    read_yaml,
    validated,
)
from ..durable import SCRATCH
from ..oracle import CALCULATORS, DEFAULT_CALCULATOR, Oracle
from ..oracle.calculators import HOW_IT_IS_RUN
from ..same_run import differences, with_later_keys
from ..section import Tagged
from ..uncertainty_config import UncertaintyConfig
from .acquire import ACQUISITIONS, DEFAULT_ACQUISITION
from .acquire.config import AcquisitionConfig
from .explore import DEFAULT_EXPLORER, EXPLORERS
from .explore.config import ExplorerConfig
from .spelling import modern
from .store import GIVEN, TEST_SET

Explorer = Annotated[SerializeAsAny[ExplorerConfig], Tagged(EXPLORERS, DEFAULT_EXPLORER)]
"""Who runs the trajectories: one of `explore`, by its `kind`, each with its config class there."""
Acquisition = Annotated[SerializeAsAny[AcquisitionConfig], Tagged(ACQUISITIONS, DEFAULT_ACQUISITION)]
"""How an arm chooses: one of `acquire`, likewise."""

_RESERVED = {GIVEN, TEST_SET, "start", "labels", "lock", "nan", "inf", "infinity", "true", "false"}
"""Marks in the store and files of a run that are no arm's, and words that the database takes for numbers."""


class GuardConfig(Section):
    """Geometries that end a trajectory; none of them reaches the oracle."""

    min_distance: PositiveFloat = 0.5
    """Å. No two atoms may be nearer than this."""
    fused: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.7
    """Nor nearer than this times the shortest distance between atoms of their species in the starting
    frames, or the sum of their covalent radii, whichever is less."""
    bonds: bool | Literal["auto"] = "auto"
    """Whether a frame may not have more fragments, held together by bonds, than the starting frames with the
    same atoms. `auto`: without periodic directions only, where nothing else holds a molecule together; a
    molecule in a large periodic box wants `true`, a reaction in the gas phase `false`."""
    bond_factor: PositiveFloat = 1.6
    """Atoms nearer than this times the sum of their covalent radii count as bonded."""
    max_gap: PositiveFloat = 3.0
    """Å. Whatever the bonds, a frame may not have more groups of atoms than the starting frames that are
    farther apart than this (or than a bond may be long)."""


class StartConfig(Section):
    """What happens to the starting frames before the first training."""

    perturb: bool | Literal["auto"] = "auto"
    """Shake them, and have the results labelled too. `auto`: where the starting frames teach next to nothing
    about forces, because there is one only, or because the forces of all vanish."""
    n_frames: PositiveInt = 10
    """How many such frames."""
    amplitude: PositiveFloat = 0.05
    """Å, mean standard deviation of a coordinate at 300 K; it grows with the square root of the explorer's
    starting temperature. Frames are shaken by 0.5 to 1.5 times as much, so that they are not all alike."""
    vanishing: PositiveFloat = 0.1
    """eV/Å. The forces vanish where the root mean square of all components is below this."""


class TestSetConfig(Section):
    """Frames on which every model is judged; never trained on."""

    __test__: ClassVar[bool] = False  # pytest would take it for a test

    frames: Path | None = None
    """Frames to take (extxyz), labelled like those to start from or not, in which case the oracle labels them. None of
    them may be among the frames to start from. Without a file, the oracle's own dynamics makes them:"""
    n_frames: PositiveInt = 200
    """Independent frames, labelled by the oracle along its own dynamics."""
    temperature: PositiveFloat = 600.0
    """K."""
    timestep: PositiveFloat = 1.0
    """fs."""
    damping: PositiveFloat = 100.0
    """fs, relaxation time of the Langevin thermostat."""
    n_equilibration: NonNegativeInt = 1000
    """Steps before the first frame."""
    every: PositiveInt = 40
    """Steps between two frames."""

    @model_validator(mode="after")
    def _one_source(self) -> TestSetConfig:
        besides = sorted(self.model_fields_set - {"frames"})
        if self.frames is not None and besides:
            raise ValueError(f"'{besides[0]}' means nothing beside 'frames', which are taken as they are")
        return self


class WarmConfig(Section):
    """What differs when a model is retrained from the weights of the round before."""

    epochs: PositiveInt = 100
    """Passes over the training frames, the new ones included."""
    learning_rate: PositiveFloat = 0.002
    """Initial learning rate."""


class FinishConfig(Section):
    """When an arm is done before its rounds are over. What is not set ends nothing."""

    std: PositiveFloat | None = None
    """eV/Å. The 95% quantile of the largest force stds along a round's trajectories, made by a model that had not seen
    them, is below this."""
    gain: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """The force RMSE on the test frames falls by less than this part of it."""
    rounds: PositiveInt = 2
    """In so many rounds, one after the other."""


class CutConfig(Section):
    """Frames that are too large for the oracle: the surroundings of their most uncertain atom are labelled instead."""

    max_atoms: PositiveInt
    """Frames with more atoms are cut, to no more than this."""
    radius: PositiveFloat = 4.0
    """Å. What is so near to the atom stays as it is. A crystal is cut to the largest smaller supercell of which that is
    true; anything else becomes a cluster in vacuum, of which the forces on these atoms are learnt from."""
    buffer: Annotated[float, Field(ge=0.0)] = 5.0
    """Å. As much more is around them in a cluster, whose forces do not count; nor does the energy of any cluster. A
    model's force on an atom depends on all others within twice its `n_layers` times its `r_max`, a reference method's
    on more: what lies beyond the buffer is an error of the labels."""
    vacuum: PositiveFloat = 6.0
    """Å around a cluster, to the walls of its box."""


class SystemConfig(Section):
    """One of several systems of a run, which has trajectories, test frames and counts of its own."""

    frames: Path
    """The frames that it starts from, as `frames` of a run of one system."""
    batch: PositiveInt | None = None
    """New labels in a round for this system. Without it the system shares the run's `batch` with all others that have
    none of their own, and the acquisition chooses among the candidates of all these."""
    explorer: Explorer | None = None
    """Its own, in place of the run's: all keys of it, its number of trajectories too."""


class TrainingConfig(Section):
    """How models are trained: the sections of a training config."""

    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the model."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where to train."""
    valid_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Part of the labelled frames set aside for validation; 0 for none. A frame's side is decided by its content
    when it is chosen, for good and for all arms. While the run has fewer than 2 / `valid_fraction` labelled
    frames, all new ones are trained on."""
    uncertainty: UncertaintyConfig | None = None
    """Where the spread comes from, if not from members of their own: `{kinds: [heads]}` or `{kinds: [mc_dropout]}`."""
    calibrate_from: PositiveInt | None = 20
    """Validation frames from which on the model of a round is calibrated on them, so that the stds of explorers,
    thresholds and acquisitions are sizes of errors; null: never. Validation chooses the epoch too, so that errors on
    these frames are a little smaller than on others."""
    model: ModelConfig = Field(default_factory=default_model)
    committee: CommitteeConfig = Field(default_factory=CommitteeConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    optimiser: OptimiserConfig = Field(default_factory=OptimiserConfig)
    """Of the first training, which starts from random weights."""
    pretrain: PretrainConfig | None = None
    """A head start for all trainings: hot frames around the starting frames by a cheap method, which the first one has
    labelled; null for none. They cost no labels of the oracle, and what teaches should not be the oracle itself."""
    warm: WarmConfig = Field(default_factory=WarmConfig)


class LoopConfig(Section):
    """One active-learning run."""

    seed: NonNegativeInt = 0
    """Everything random follows from this."""
    directory: Path
    """Where the run lives."""
    store: Annotated[str, Field(pattern="^postgres(ql)?://")] | None = None
    """URL of a PostgreSQL database in which the run's frames lie, one for each run, such as
    `postgresql://me@server/copper`; the password belongs into `~/.pgpass`. null: `frames.db` in the directory."""
    frames: Path | None = None
    """The frames to start from (extxyz), labelled or not. Isolated atoms among them set the energy shifts."""
    systems: Annotated[dict[str, SystemConfig], Field(min_length=1)] | None = None
    """Several systems by name in place of `frames`, such as `{ethanol: {frames: ethanol.extxyz}, water: {frames:
    water.extxyz, batch: 5}}`: one model learns from all. Each has the trajectories of its explorer in every round."""
    energy_key: str = "auto"
    """Key of the energy in `frames`. `auto`: REF_energy where the file has it, else ASE's energy."""
    forces_key: str = "auto"
    """Key of the forces. `auto`: REF_forces where the file has it, else ASE's forces."""
    stress_key: str = "auto"
    """Key of the stress. `auto`: REF_stress where the file has it, else ASE's stress, else none."""
    check_labels: bool = True
    """Compute one of the labels that came with `frames` again before anything else, and refuse the run if the
    oracle's differs by more than 1 meV/atom or 10 meV/Å: another method made them."""
    start: StartConfig = Field(default_factory=StartConfig)
    rounds: PositiveInt = 3
    """Explore, select, label, retrain: how often. May be raised to continue a finished run."""
    finish: FinishConfig = Field(default_factory=FinishConfig)
    batch: PositiveInt = 10
    """New labels in a round, for each arm; of `systems`, for all together that have no `batch` of their own. A frame
    that the oracle fails on is replaced, by at most 3 times as many attempts as labels; a round that still has fewer
    says so."""
    arms: Annotated[dict[str, Acquisition], Field(min_length=1)] = Field(
        default_factory=lambda: {"active": ACQUISITIONS[DEFAULT_ACQUISITION].section()}
    )
    """The arms by name, each with the acquisition that chooses its frames, such as
    `{active: {kind: uncertain_then_diverse}, random: {kind: random}}`. All start from one model, explore with the same
    seeds and get equally many labels; the first one is the report's subject, the others are compared with it."""
    parallel: bool = True
    """Run the arms at the same time, each in a process of its own."""
    oracle: Oracle = Field(default_factory=CALCULATORS[DEFAULT_CALCULATOR].section)
    explorer: Explorer = Field(default_factory=EXPLORERS[DEFAULT_EXPLORER].section)
    guard: GuardConfig = Field(default_factory=GuardConfig)
    cut: CutConfig | None = None
    """What is done with frames that are chosen and too large for the oracle; null: they go to it as they are."""
    test_set: TestSetConfig = Field(default_factory=TestSetConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    @model_validator(mode="before")
    @classmethod
    def _in_todays_words(cls, values: Any) -> Any:
        return modern(values)

    @model_validator(mode="after")
    def _consistent(self) -> LoopConfig:
        if (self.frames is None) == (self.systems is None):
            raise ValueError("one of 'frames' and 'systems' is needed, and not both")
        for key, names in (("arms", self.arms), ("systems", self.systems or {})):
            for name in names:
                plain = re.fullmatch(r"[A-Za-z][\w-]*", name) and not name.startswith(SCRATCH)
                if not plain or name.lower() in _RESERVED:
                    raise ValueError(
                        f"'{key}' has one named {name!r}, which is the name of a folder: letters, digits, _ and -, "
                        f"a letter first; not {SCRATCH}…, {', '.join(sorted(_RESERVED))}"
                    )
        uncertainty = self.training.uncertainty
        with_passes = uncertainty is not None and any(kind.kind == "mc_dropout" for kind in uncertainty.kinds)
        if self.training.committee.n_members < 2 and not with_passes:
            raise ValueError(
                "'training.committee.n_members' is 1: the loop chooses by the spread of a committee, "
                "which takes 2 members or more"
            )
        return self


MAY_CHANGE = (
    *("rounds", "finish", "parallel", "directory"),
    *(f"{oracle}.{key}" for oracle in ("oracle", "training.pretrain.oracle") for key in HOW_IT_IS_RUN),
    *("training.committee.workers", "training.committee.cluster", "training.calibrate_from"),
)
"""Keys that a resumed run may have changed."""


def load_loop_config(path: str | Path) -> LoopConfig:
    """Read a loop config; raises ValueError with one line a problem, as for a training config."""
    return validated(LoopConfig, read_yaml(path), str(path))


def check_same_run(old: dict[str, Any], new: dict[str, Any], directory: Path) -> None:
    """Refuse to continue a run under another config.

    Raises ValueError: naming the keys that differ, and their values.
    """
    training = with_later_keys(old.get("training", {}))
    changed = differences(old | {"training": training}, new, MAY_CHANGE)
    if changed:
        raise ValueError(
            f"{directory} holds a run with other settings: {'; '.join(changed)}; "
            "choose another directory, or start again with --fresh"
        )
