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
    read_yaml,
    validated,
)

Arm = Literal["active", "random"]


class OracleConfig(Section):
    """The reference method."""

    kind: Literal["tblite", "emt", "lj", "ase"] = "tblite"
    """`tblite` (GFN-xTB), `emt` and `lj` (for tests), or `ase` for any other calculator."""
    method: str = "GFN2-xTB"
    """Only for `tblite`."""
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
        return self


class TimesTraining(Section):
    """A threshold relative to what the committee says about frames it has learnt."""

    times_training: PositiveFloat
    """Multiple of the committee's force std on its training frames (mean over atoms and frames)."""


class ExplorerConfig(Section):
    """Molecular dynamics with the newest model, thermostat on a straight temperature ramp."""

    kind: Literal["lammps", "ase"] = "lammps"
    """Who runs the dynamics."""
    n_trajectories: PositiveInt = 2
    """Trajectories in a round; they start from different labelled frames."""
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


class AcquisitionConfig(Section):
    """How the active arm chooses."""

    kind: Literal["most_uncertain", "farthest_points", "uncertain_then_diverse"] = (
        "uncertain_then_diverse"
    )
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


class HoldoutConfig(Section):
    """Frames on which every model is judged."""

    n_frames: PositiveInt = 200
    """Independent frames, labelled by the oracle along its own dynamics; never trained on."""
    temperature: PositiveFloat = 600.0
    """K."""
    timestep: PositiveFloat = 1.0
    """fs."""
    n_equilibration: NonNegativeInt = 1000
    """Steps before the first frame."""
    every: PositiveInt = 40
    """Steps between two frames."""


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
    """Part of the labelled frames set aside for validation; 0 for none."""
    model: ModelConfig = Field(default_factory=ModelConfig)
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
    """The frames to start from (extxyz), labelled or not."""
    rounds: PositiveInt = 3
    """Explore, select, label, retrain: how often. May be raised to continue a finished run."""
    batch: PositiveInt = 10
    """Labels in a round."""
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


MAY_CHANGE = {"rounds", "parallel", "directory"}
"""Keys that a resumed run may have changed (and the oracle's workers, retries and timeout)."""


def load_loop_config(path: str | Path) -> LoopConfig:
    """Read a loop config; raises ValueError with one line a problem, as for a training config."""
    return validated(LoopConfig, read_yaml(path), str(path))


def check_same_run(old: dict[str, Any], new: dict[str, Any], directory: Path) -> None:
    """Refuse to continue a run under another config.

    Raises:
        ValueError: naming the keys that differ.
    """

    def essential(config: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in config.items() if key not in MAY_CHANGE}
        kept["oracle"] = {
            key: value
            for key, value in config["oracle"].items()
            if key not in {"workers", "retries", "timeout"}
        }
        return kept

    before, now = essential(old), essential(new)
    changed = sorted(key for key in before | now if before.get(key) != now.get(key))
    if changed:
        raise ValueError(
            f"{directory} holds a run with other settings: {', '.join(changed)} changed; "
            "choose another directory, or start again with --fresh"
        )
