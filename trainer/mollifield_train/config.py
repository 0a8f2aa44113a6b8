"""What a training run may be told, as strict pydantic models.

A field's docstring is its documentation. An unknown key is an error that names the nearest right
one, with the file and the full path of the key. Paths are relative to the working directory.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, SerializeAsAny

from .clusters import Cluster, LocalConfig
from .data.frames import Reading
from .data.keys import LabelKeys
from .data.origins import Origin
from .data.unit_names import EnergyUnit, ForcesUnit, Sign, StressUnit
from .loss.mollifier import DEFAULT_FORM, FORMS
from .loss.mollifier.sections import FormConfig, TeacherConfig
from .model import ARCHITECTURES, DEFAULT_KIND
from .model.config import ArchitectureConfig
from .model.presets import PRESET, PRESETS, with_preset
from .oracle import CALCULATORS, DEFAULT_CALCULATOR, Oracle
from .section import AlsoWord, AnySection, Section, Tagged, validated
from .uncertainty_config import DropoutConfig, HeadsConfig, UncertaintyConfig
from .yaml_values import apply_override, read_yaml


class OriginConfig(Section):
    """Files of one origin. Keys that are null, or not given, are those of the whole data."""

    files: str = "*"
    """Which: a pattern (`*`, `?`, `[...]`; `*` matches slashes too) for paths as they are given, or their ends. The
    first origin of the list that matches a file counts, alone."""
    format: str | None = None
    """ASE's name of the format, such as `vasp-out`; null: by the name of the file and what is in it."""
    symbols: Annotated[list[str], Field(min_length=1)] | None = None
    """Chemical symbols of LAMMPS' atom types, from type 1 on, for dumps without a column `element`."""
    energy_key: str | None = None
    """Key of the energy. One that names a column of values an atom stands for their sum."""
    forces_key: str | None = None
    """Key of the forces."""
    stress_key: str | None = None
    """Key of the stress."""
    virial_key: str | None = None
    """Key of a virial, which takes the place of the stress in frames that have it: stress = -virial / volume."""
    energy_unit: EnergyUnit = "eV"
    """Unit of the energy, and of the virial."""
    forces_unit: ForcesUnit = "eV/Å"
    """Unit of the forces."""
    stress_unit: StressUnit = "eV/Å^3"
    """Unit of the stress. VASP's and Quantum ESPRESSO's own files are in eV/Å^3 once ASE has read them."""
    stress_sign: Sign = "tension"
    """Under what a diagonal element of the stress is positive: `tension`, as ASE has it, or `compression`."""
    virial_sign: Sign = "compression"
    """Likewise of the virial: `compression`, as its definition has it, or `tension`."""
    config_type: str | None = None
    """Group of the frames that name none themselves."""
    weight: NonNegativeFloat = 1.0
    """Weight of its frames in the loss, times their own and that of their group."""

    def origin(self) -> Origin:
        """As those who read files know it."""
        return Origin(**(dict(self) | {"symbols": None if self.symbols is None else tuple(self.symbols)}))


class DataConfig(Section):
    """Labelled frames. Units: eV, Å, eV/Å, eV/Å^3 (stress in ASE's sign: positive under tension)."""

    EARLIER: ClassVar[dict[str, Any]] = {"origins": [], "weight_key": "config_weight", "config_type_weights": {}}
    """Keys that runs of earlier versions do not name, and what they did."""

    train: str | list[str]
    """File of frames, several, or patterns (`dft/**/*.xyz`): extended xyz, and what else ASE reads with energies or
    forces: its databases and trajectories, LAMMPS dumps, `vasprun.xml`, OUTCAR, outputs of Quantum ESPRESSO."""
    valid: str | list[str] | None = None
    """Frames for validation. Null: a seeded part of `train` is set aside (`valid_fraction`)."""
    valid_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Part of `train` set aside for validation when `valid` is null; 0 for none. Each frame's geometry and the seed
    decide its side, whatever the other frames are, so the fraction is met on average only. Nothing is set aside
    while fewer than two validation frames are to be expected (0.1: below 20 frames). Frames that the
    initial model of a warm start was trained on are trained on again, always."""
    energy_key: str = "auto"
    """Key of the energy. `auto`: REF_energy, REF_forces and REF_stress where any frame has one of them, else ASE's
    energy, forces and stress. Frames or files that mix the two families are refused, as two levels of theory."""
    forces_key: str = "auto"
    """Key of the forces; `auto` as for the energy."""
    stress_key: str = "auto"
    """Key of the stress; `auto` as for the energy. A stress counts where all three directions are periodic."""
    virial_key: str | None = None
    """Key of a virial, which takes the place of the stress in frames that have it; never taken unless it is named."""
    origins: list[OriginConfig] = []
    """What is special about files of one origin, such as `{files: "old/*.xyz", stress_sign: compression}`."""
    cache: str | None = None
    """Folder in which frames are kept with their neighbour lists, for sets that are larger than memory: it is filled
    once (with some 32 bytes an edge and 50 an atom), and later runs on the same files begin in seconds. A file that has
    changed is read again; the folder may be shared by runs and deleted at any time when none is under way. Null: all
    frames are kept in memory, which is a little faster, and as much as a disk that nobody named should be asked for."""
    cache_workers: PositiveInt | None = None
    """Processes that fill the cache; null: as many as there are cores."""
    weight_key: str | None = "config_weight"
    """Key of a frame's own weight in the loss; null for none. Weights multiply a frame's part of every term of the
    loss, in validation too. Errors are reported without them."""
    config_type_weights: dict[str, NonNegativeFloat] = {}
    """Weights of groups of frames, by their `config_type`; 1 for those that are not named."""

    def reading(self) -> Reading:
        """How its files are read."""
        keys = LabelKeys(self.energy_key, self.forces_key, self.stress_key, self.virial_key)
        return Reading(
            keys, tuple(origin.origin() for origin in self.origins), self.weight_key, self.config_type_weights
        )


ModelConfig = Annotated[
    SerializeAsAny[ArchitectureConfig],
    Tagged(ARCHITECTURES, DEFAULT_KIND),
    pydantic.BeforeValidator(with_preset),
    AlsoWord(tuple(PRESETS), PRESET),
]
"""Architecture of one member: one of `mollifield_train.model`, by its `kind`, each with its config class there; or the
name of a preset, `fast`, `balanced` (the defaults) or `accurate`, alone or as `preset` beside keys that override it."""

# A table of kinds knows sections only.
default_model = cast(type[ArchitectureConfig], ARCHITECTURES[DEFAULT_KIND].section)


class CommitteeConfig(Section):
    """The members, which differ in their initial weights: member m is drawn from seed + m."""

    n_members: PositiveInt = 4
    """Members of the committee."""
    training: Literal["together", "one_by_one", "parallel"] = "together"
    """`together`: all members in one vectorised pass. `one_by_one`: one fit after the other, for
    members that do not fit in memory together. `parallel`: likewise, on worker processes with one core or GPU each.
    All see the same batches in the same order; the last two give the same numbers (with one thread)."""
    workers: PositiveInt | None = None
    """Worker processes of `parallel`; null: as many as there are cores or GPUs, and no more than members; on a
    cluster, as many as there are members."""
    cluster: Cluster = Field(default_factory=LocalConfig)
    """Where the workers of `parallel` are, as the loop's `oracle.cluster` (`mollifield_train.clusters.config`)."""
    bootstrap: bool = False
    """Each member sees the training frames with weights of its own, drawn with replacement."""


MollifierConfig = Annotated[SerializeAsAny[FormConfig], Tagged(FORMS, DEFAULT_FORM, "form")]
"""The mollified term: one of `mollifield_train.loss.mollifier`, by its `form`; keys are in `sections` there."""


class LossConfig(Section):
    """Weights of the loss (`mollifield_train.loss`). Frames count in the terms of the labels that they have."""

    measure: Literal["squares", "lengths"] = "squares"
    """What is summed of errors: `squares` (`loss.energy_force`), of total energies and of force components; or
    `lengths` (`loss.lengths`), of energies an atom and of force vectors, by which outliers weigh less and energies
    more. With `lengths` `energy` and `forces` are 10 where nothing else is said."""
    energy: NonNegativeFloat = 1.0
    """λ_E, of the squared error of the total energy; with `lengths` of the error of the energy an atom."""
    final_energy: Literal["auto"] | NonNegativeFloat | None = "auto"
    """λ_E of the last 30% of the run, and of all validation: energies are learnt best where the rate is low already,
    and a weight that counts from the beginning costs forces. `auto`: 100 times `energy`; with `lengths` as null. Null:
    as `energy`, throughout."""
    forces: NonNegativeFloat = 1000.0
    """λ_F, of the mean squared error of a force component; with `lengths` of the mean length of a force error."""
    stress: Literal["auto"] | NonNegativeFloat = "auto"
    """λ_S, of the mean squared error of a stress component. `auto`: in place of the stress, its virial an
    atom, σV/N, counts as a force component of that many eV/Å would (`training.objective.VIRIAL_WEIGHT`), whatever the
    volume. Frames without stress do not count, and a set without any is trained without."""
    units: Literal["physical", "scaled"] = "physical"
    """`physical`: eV and Å. `scaled`: lengths in `length_scale`, forces in the RMS force of the
    training frames, energies in their product; then σ = 1, λ_M = 10, λ_F = 5 are pure numbers."""
    length_scale: PositiveFloat = 1.0
    """Unit of length ℓ in Å for `units: scaled`."""
    mollifier: MollifierConfig | None = None
    """A mollified term, by its `form`; `{}` for the sources' own, `gradient`, at a weight that is safe. Null: none,
    because `gradient` at that weight changed no error that was measured, and takes two thirds more time
    (docs/mollifier.md)."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _weights_of_lengths(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("measure") == "lengths":
            return {"energy": 10.0, "forces": 10.0} | values
        return values

    @pydantic.model_validator(mode="after")
    def _weighs_something(self) -> "LossConfig":
        if not any(weight > 0.0 for weight in (self.energy, self.forces, self.stress) if weight != "auto"):
            raise ValueError("the weights of energy, forces and stress are all 0: there is nothing to learn")
        return self


N_EPOCHS = 200


class OptimiserConfig(Section):
    """How weights move, and its schedule."""

    EARLIER: ClassVar[dict[str, Any]] = {"method": "adam"}
    """Keys that runs of earlier versions do not name, and what they did."""

    method: Literal["muon", "adam"] = "muon"
    """`muon`: steps of matrices whose singular values are alike, each member's and each degree's by themselves (Jordan
    2024), Adam for what is no matrix. `adam`: for all."""
    learning_rate: PositiveFloat = 0.005
    """Initial learning rate."""
    batch_size: PositiveInt = 5
    """Frames of a step."""
    batch_by: Literal["frames", "edges"] = "frames"
    """`frames`: `batch_size` frames in each batch. `edges`: as many batches, filled so that each holds
    about the same number of edges, for frames of very different sizes: every step then takes about
    the same time and memory. A frame in a fuller batch counts for correspondingly less."""
    epochs: PositiveInt = N_EPOCHS
    """Passes over the training frames; with `pretrain`, over whichever frames take more batches."""
    minutes: PositiveFloat | None = None
    """Train for so long in place of `epochs`, the whole committee, validation included. Schedules end with the time,
    whatever the machine does. A continued run has what was left; it cannot repeat another to the last digit."""
    sam: PositiveFloat | None = None
    """Sharpness-aware minimisation: the gradient of a step is taken where each member's weights are moved by this
    length up the gradient of its own data terms. A step costs twice as much. Null for none."""
    weight_decay: PositiveFloat | None = 0.01
    """Every step also shrinks each weight by this times the learning rate, apart from the gradient (AdamW, arXiv
    1711.05101): the random start fades, which stays otherwise where frames say nothing, and errs in hot geometries
    (docs/accuracy.md). Null for none."""
    gradient_clip: PositiveFloat | None = 10.0
    """Largest norm of one member's gradient; null for none."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """Decay of the exponential moving average of the weights, which validation and the exported
    file use; 0 for none."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """`cosine`: to 1% of the initial rate at the last step. `plateau`: halved when the validation
    loss (mean over members) has not improved for a third of `patience`."""
    patience: PositiveInt = 50
    """Epochs without improvement of any member's validation loss after which the run stops. With `cosine` they
    count only from where the rate is below a tenth of the initial one (the last fifth of the epochs): before, the
    validation loss is still to fall with the rate."""

    @pydantic.model_validator(mode="after")
    def _one_length(self) -> "OptimiserConfig":
        if self.minutes is not None and self.epochs != N_EPOCHS:
            raise ValueError(f"'epochs' ({self.epochs}) means nothing beside 'minutes' ({self.minutes:g}): give one")
        return self


class PretrainConfig(Section):
    """A head start: hot frames around those of the training, labelled by a cheap method and learnt beside them.

    What the cheap method says more or less has a readout of its own (`training.beside`), which the exported file
    does not have. Energies need not have the same zero. For molecules and small cells: a frame costs 5 calculations.
    """

    oracle: Oracle = Field(default_factory=CALCULATORS[DEFAULT_CALCULATOR].section)
    """The cheap method, as the loop's `oracle`: `{kind: tblite, method: GFN2-xTB, workers: 4}`, or any calculator of
    ASE's. A name alone is its kind, beside which `method` may stand."""
    frames: PositiveInt = 1000
    """How many."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (300.0, 1500.0)
    """K. Each trajectory has a temperature between these: half as much again as where the model is to be used."""
    pulled: Annotated[float, Field(ge=0.0, le=1.0)] = 0.15
    """Part of the frames of a molecule in which a bond is pulled apart, up to three times its length. Without them a
    model knows nothing of bonds that break, and hot dynamics finds out."""
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.6
    """Part of each batch that they are; at least one frame, and one is left for the given ones."""
    weight: PositiveFloat = 1.0
    """Of such a frame in the loss, over that of a given one."""
    max_atoms: PositiveInt = 100
    """Training frames with more atoms are refused: their labels would take hours."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _name_alone(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("oracle"), str):
            return values
        rest = {key: value for key, value in values.items() if key not in ("oracle", "method")}
        oracle = {"kind": values["oracle"]} | ({"method": values["method"]} if "method" in values else {})
        return rest | {"oracle": oracle}

    @pydantic.model_validator(mode="after")
    def _rises(self) -> "PretrainConfig":
        low, high = self.temperature
        if low > high:
            raise ValueError(f"'temperature' falls from {low:g} to {high:g} K; the lower one comes first")
        return self


class TrainConfig(Section):
    """One training run."""

    seed: NonNegativeInt = 0
    """Seed of the split, batch order, Monte Carlo and bootstrap; member m's weights: seed + m."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the model. Energies are summed in float64 in both."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where to train; `auto` takes a GPU if there is one."""
    devices: PositiveInt = 1
    """Processes on each machine that train one fit together, with a GPU or a part of the cores each. They divide
    each batch between them, so `batch_size` and the numbers mean the same whatever there are, but for rounding; a
    run may be continued with others (docs/training.md)."""
    nodes: PositiveInt = 1
    """Machines with `devices` each. More than one need `srun`, with a process for each device."""
    directory: str = "runs/mollifield"
    """Where the run writes its checkpoints, logs and model.pt."""
    initial: str | None = None
    """Trained members to start from, with their weights and shifts: a run's directory, its members.pt or a checkpoint,
    or an exported model.pt. Keys of `model` and `dtype` must be the same, and it needs at least as many members.
    Species that it does not know are learnt from scratch. Null: random weights."""
    data: DataConfig
    model: ModelConfig = Field(default_factory=default_model)
    committee: CommitteeConfig = Field(default_factory=CommitteeConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    optimiser: OptimiserConfig = Field(default_factory=OptimiserConfig)
    pretrain: PretrainConfig | None = None
    """Hot frames by a cheap method to learn beside the given ones; null for none."""
    uncertainty: UncertaintyConfig | None = None
    """What the exported file's spread comes from, where it is not from members of their own alone
    (docs/uncertainty.md): `{kinds: [heads]}`, or `{kinds: [mc_dropout]}`."""

    @property
    def heads(self) -> HeadsConfig | None:
        """Where the committee's members are readouts of one trunk."""
        return self._source(HeadsConfig)

    @property
    def dropout(self) -> DropoutConfig | None:
        """Where the exported file has passes with masks."""
        return self._source(DropoutConfig)

    def _source(self, section: type[AnySection]) -> AnySection | None:
        kinds = [] if self.uncertainty is None else self.uncertainty.kinds
        return next((source for source in kinds if isinstance(source, section)), None)

    @pydantic.model_validator(mode="after")
    def _goes_with_its_uncertainty(self) -> "TrainConfig":
        if self.uncertainty is None:
            return self
        others = {"loss.mollifier": self.loss.mollifier is not None}
        if self.heads is not None:
            others |= {
                "pretrain": self.pretrain is not None,
                "committee.bootstrap": self.committee.bootstrap,
                f"committee.training: {self.committee.training}": self.committee.training != "together",
                "committee.n_members: 1": self.committee.n_members == 1,
            }
        unfit = [key for key, given in others.items() if given]
        if unfit:
            kinds = ", ".join(source.kind for source in self.uncertainty.kinds)
            raise ValueError(f"'uncertainty.kinds' is {kinds}, which does not go with {' and '.join(unfit)}")
        return self

    @pydantic.model_validator(mode="after")
    def _room_in_a_batch(self) -> "TrainConfig":
        if self.pretrain is not None and self.optimiser.batch_size == 1:
            raise ValueError("'pretrain' shares batches with the given frames: 'optimiser.batch_size' 1 is too small")
        return self

    @pydantic.model_validator(mode="after")
    def _can_be_divided(self) -> "TrainConfig":
        size = self.devices * self.nodes
        if size == 1:
            return self
        if self.loss.mollifier is not None:
            raise ValueError(
                f"'loss.mollifier' moves atoms of whole batches, which 'devices' {self.devices} times 'nodes' "
                f"{self.nodes} would divide: allowed is one process"
            )
        if self.committee.training == "parallel":
            raise ValueError(
                "'committee.training' is 'parallel', a process for each member, and 'devices' times 'nodes' are "
                f"{size} processes for one: choose one of them ('together' and 'one_by_one' go with several devices)"
            )
        if size > self.optimiser.batch_size:
            raise ValueError(
                f"'optimiser.batch_size' {self.optimiser.batch_size} frames cannot keep {size} processes busy "
                f"('devices' {self.devices} times 'nodes' {self.nodes})"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _has_teacher(self) -> "TrainConfig":
        term = self.loss.mollifier
        if isinstance(term, TeacherConfig):
            if term.towards == "average" and self.optimiser.ema_decay == 0.0:
                raise ValueError("'loss.mollifier.towards' is 'average', and 'optimiser.ema_decay' is 0: there is none")
            together = self.committee.training == "together" and self.committee.n_members > 1
            if term.towards == "committee" and not together:
                raise ValueError(
                    "'loss.mollifier.towards' is 'committee': its members must be trained together, two or more"
                )
        return self


def load_train_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> TrainConfig:
    """Read a YAML file; `overrides` are 'section.key=value' with YAML values.

    Raises ValueError with one line a problem: file, full path of the key, what is allowed.
    """
    values = read_yaml(path)
    for override in overrides:
        apply_override(values, override)
    return validated(TrainConfig, values, str(path))
