"""The config of the loop. Paths are relative to the working directory, as in a training config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from mollifield_train.active.descriptors import Kind as DescriptorKind
from mollifield_train.config import (
    CommitteeConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    Section,
    default_model,
    read_yaml,
    validated,
)
from mollifield_train.model import DEFAULT_KIND
from mollifield_train.same_run import differences

Arm = Literal["active", "random"]


class OracleConfig(Section):
    """The reference method."""

    kind: Literal["tblite", "emt", "lj", "ase"] = "tblite"
    """`tblite` (GFN-xTB), `emt` and `lj` (for tests), or `ase` for any other calculator."""
    method: str | None = None
    """Only for `tblite`; null: GFN2-xTB."""
    calculator: str | None = None
    """Only for `ase`: the import path of a class, such as `ase.calculators.vasp.Vasp`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator. Each calculation runs in an empty folder of its own, so paths
    in here must be absolute."""
    workers: PositiveInt = 1
    """Calculations at a time, for each arm."""
    retries: NonNegativeInt = 2
    """Further attempts after a calculation failed; then the frame is marked as failed."""
    timeout: PositiveFloat = 600.0
    """Seconds after which an attempt counts as failed."""

    @model_validator(mode="after")
    def _named(self) -> OracleConfig:
        if (self.kind == "ase") != (self.calculator is not None):
            raise ValueError("'calculator' goes with kind 'ase', and only with it")
        if self.kind != "tblite" and self.method is not None:
            raise ValueError(
                f"'method' means nothing for kind '{self.kind}': it goes with kind 'tblite' only "
                "(other calculators take theirs in 'arguments')"
            )
        return self

    @property
    def name(self) -> str:
        """What the reference method is called in messages and reports."""
        if self.kind == "tblite":
            return self.method or "GFN2-xTB"
        return self.calculator or self.kind


class TimesTraining(Section):
    """A threshold relative to what the committee says about frames it has learnt."""

    times_training: PositiveFloat
    """Multiple of the committee's force std on its training frames (mean over atoms and frames)."""


class ExplorerConfig(Section):
    """Molecular dynamics with the newest model, thermostat on a straight temperature ramp."""

    kind: Literal["lammps", "ase"] = "lammps"
    """Who runs the dynamics."""
    n_trajectories: PositiveInt = 2
    """Trajectories in a round. They start from different labelled frames while there are enough, those that the
    run began with and those of earlier rounds by turns."""
    extra_trajectories: NonNegativeInt = 4
    """Further ones at most, in a round where there are too few candidates for `batch` labels."""
    n_steps: PositiveInt = 4000
    """Steps of a trajectory."""
    timestep: PositiveFloat = 0.5
    """fs."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (300.0, 600.0)
    """K, at the start and at the end; the thermostat follows a straight line."""
    damping: PositiveFloat = 100.0
    """fs, relaxation time of the Langevin thermostat."""
    sample_every: PositiveInt = 10
    """Steps between two looks at the uncertainty."""
    regular_every: PositiveInt = 50
    """Steps between frames saved whatever their uncertainty."""
    select: PositiveFloat | TimesTraining = TimesTraining(times_training=3.0)
    """Frames whose largest force std is above this are candidates: eV/Å, or times_training."""
    stop: PositiveFloat | TimesTraining | None = None
    """The trajectory ends above this (same units); none: it never ends early."""
    n_ranks: PositiveInt = 1
    """MPI ranks of LAMMPS."""

    @model_validator(mode="after")
    def _consistent(self) -> ExplorerConfig:
        for key in ("sample_every", "regular_every"):
            if getattr(self, key) > self.n_steps:
                raise ValueError(f"'{key}' ({getattr(self, key)}) is longer than the run ('n_steps': {self.n_steps})")
        select, stop = (
            value.times_training if isinstance(value, TimesTraining) else value for value in (self.select, self.stop)
        )
        same_unit = isinstance(self.select, TimesTraining) == isinstance(self.stop, TimesTraining)
        if stop is not None and same_unit and stop < select:
            raise ValueError(
                f"'stop' ({stop:g}) is below 'select' ({select:g}): no frame could be selected before the "
                "trajectory ends"
            )
        return self


class AcquisitionConfig(Section):
    """How the active arm chooses."""

    kind: Literal["most_uncertain", "farthest_points", "uncertain_then_diverse"] = "uncertain_then_diverse"
    """How the active arm chooses its batch among the candidates."""
    descriptor: DescriptorKind = "species_mean"
    """How latent features are averaged over the atoms of a frame."""
    pool_factor: Annotated[float, Field(ge=1)] = 3.0
    """`uncertain_then_diverse` keeps this many times `batch` frames before it diversifies."""


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


class HoldoutConfig(Section):
    """Frames on which every model is judged; never trained on."""

    frames: Path | None = None
    """Frames to take (extxyz), labelled like those to start from or not, in which case the oracle labels them. None of
    them may be among the frames to start from. Without a file, the oracle's own dynamics makes them:"""
    n_frames: PositiveInt = 200
    """Independent frames, labelled by the oracle along its own dynamics."""
    temperature: PositiveFloat = 600.0
    """K."""
    timestep: PositiveFloat = 1.0
    """fs."""
    n_equilibration: NonNegativeInt = 1000
    """Steps before the first frame."""
    every: PositiveInt = 40
    """Steps between two frames."""

    @model_validator(mode="after")
    def _one_source(self) -> HoldoutConfig:
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
    model: ModelConfig = Field(default_factory=default_model)
    committee: CommitteeConfig = Field(default_factory=CommitteeConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    optimiser: OptimiserConfig = Field(default_factory=OptimiserConfig)
    """Of the first training, which starts from random weights."""
    warm: WarmConfig = Field(default_factory=WarmConfig)


class LoopConfig(Section):
    """One active-learning run."""

    seed: NonNegativeInt = 0
    """Everything random follows from this."""
    directory: Path
    """Where the run lives."""
    frames: Path
    """The frames to start from (extxyz), labelled or not. Isolated atoms among them set the energy shifts."""
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
    batch: PositiveInt = 10
    """New labels in a round, for each arm. A frame that the oracle fails on is replaced, by at most 3 times as
    many attempts as labels; a round that still has fewer says so."""
    arms: Annotated[list[Arm], Field(min_length=1)] = ["active"]
    """`random` adds the comparison: as many labels, drawn from regularly saved frames."""
    parallel: bool = True
    """Run the arms at the same time, each in a process of its own."""
    oracle: OracleConfig = Field(default_factory=OracleConfig)
    explorer: ExplorerConfig = Field(default_factory=ExplorerConfig)
    acquisition: AcquisitionConfig = Field(default_factory=AcquisitionConfig)
    guard: GuardConfig = Field(default_factory=GuardConfig)
    test_set: HoldoutConfig = Field(default_factory=HoldoutConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    @model_validator(mode="after")
    def _consistent(self) -> LoopConfig:
        if len(set(self.arms)) < len(self.arms):
            raise ValueError(f"'arms' lists one twice: {', '.join(self.arms)}")
        if self.training.committee.n_members < 2:
            raise ValueError(
                "'training.committee.n_members' is 1: the loop chooses by the spread of a committee, "
                "which takes 2 members or more"
            )
        return self


MAY_CHANGE = ("rounds", "parallel", "directory", "oracle.workers", "oracle.retries", "oracle.timeout")
"""Keys that a resumed run may have changed."""


def load_loop_config(path: str | Path) -> LoopConfig:
    """Read a loop config; raises ValueError with one line a problem, as for a training config."""
    return validated(LoopConfig, read_yaml(path), str(path))


def check_same_run(old: dict[str, Any], new: dict[str, Any], directory: Path) -> None:
    """Refuse to continue a run under another config.

    Raises:
        ValueError: naming the keys that differ, and their values.
    """

    # Older runs name no kind of model.
    changed = differences(old, new, MAY_CHANGE, {"training.model.kind": DEFAULT_KIND})
    if changed:
        raise ValueError(
            f"{directory} holds a run with other settings: {'; '.join(changed)}; "
            "choose another directory, or start again with --fresh"
        )
