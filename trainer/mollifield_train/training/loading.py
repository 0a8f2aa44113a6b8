"""Training data made ready: read, split, summarised, checked, and put in graphs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config import ModelConfig, TrainConfig
from ..data.batches import build_graphs
from ..data.checks import check_frames, names
from ..data.frames import LABELS
from ..data.graph_sets import GraphSet, InMemory, average_neighbours, shortest_distances
from ..data.shifts import Shifts, energy_shifts
from ..data.splits import split_frames, validation_from
from ..data.statistics import Statistics, force_scale, species_of
from ..data.summary import Summary
from ..data.work import odd_works
from ..model.protocol import Potential
from ..pretrain.frames import labelled_before, oracle_frames
from .holders import Holder, holder_of


@dataclass(frozen=True)
class TrainingData:
    """Frames ready to train on."""

    training: GraphSet
    validation: GraphSet
    statistics: Statistics
    labels: list[str]
    """What is trained on, of 'energy', 'forces' and 'stress': labels that frames have and the loss weighs."""
    trained_before: list[str]
    """Keys (`data.content`) of the frames that the initial model of a warm start was trained on."""
    notes: list[str]
    """What a person should know of the data, a line each."""
    oracle: GraphSet = field(default_factory=lambda: InMemory([]))
    """Frames to learn beside them, labelled by a cheap method; their indices follow those of `training`."""
    oracle_seconds: float = 0.0
    """What it took to make them."""

    def provenance(self) -> dict[str, list[str]]:
        """What a checkpoint says of the frames: those of the initial model, and all that it has seen at its end."""
        seen = {frame.content for frame in self.training.frames} | set(self.trained_before)
        return {"trained_before": self.trained_before, "trained_on": sorted(seen)}


@dataclass(frozen=True)
class FrameSets:
    """Frames as they were read and split."""

    training: Sequence[Summary]
    validation: Sequence[Summary]
    isolated: Sequence[Summary]
    notes: list[str]
    holder: Holder
    """Where they are."""


def read_data(config: TrainConfig, trained_before: Collection[str] = (), progress: bool = True) -> FrameSets:
    """Read and split; frames with a key in `trained_before` are trained on again, never validated with.

    Raises ValueError for unusable files.
    """
    holder = holder_of(config)
    sets = holder.frame_sets(progress)
    isolated = [frame for frame in sets[0] if frame.is_isolated_atom]
    frames, *others = [[frame for frame in found if not frame.is_isolated_atom] for found in sets]
    if not frames:
        raise ValueError(f"{config.data.train}: only isolated atoms, nothing to train on")
    if others:
        return FrameSets(frames, others[0], isolated, _overlap(frames, others[0], trained_before), holder)
    fraction = config.data.valid_fraction
    training, validation = split_frames(frames, fraction, config.seed, trained_before)
    notes = _split_notes(frames, validation, fraction, trained_before)
    return FrameSets(training, validation, isolated, notes, holder)


def load_data(
    config: TrainConfig, model: Potential | None = None, trained_before: Collection[str] = (), progress: bool = True
) -> TrainingData:
    """Training data of a config; species of `model` (a warm start) come first, and keep their shifts.

    Raises ValueError as `read_data` does, where the loss weighs no label that the training frames have, and for
    validation frames with an element that neither the model knows nor any training frame has.
    """
    found = read_data(config, trained_before, progress)
    labels = _trained_labels(config, found.training)
    species = species_of(found.training)
    if model is not None:
        species = [*model.species, *(symbol for symbol in species if symbol not in model.species)]
    _require_elements(found.validation, species)
    training = found.holder.graphs(found.training, species, progress, with_nearby=True)
    # By the same search, for the order of the edges of small cells is that of a cutoff.
    validation = found.holder.graphs(found.validation, species, progress, with_nearby=False)
    shifts = energy_shifts(found.training, found.isolated, species, config.model.shifts)
    scale = force_scale(found.training)
    frames = [*found.training, *found.validation]
    notes = [*found.notes, *check_frames(frames), *odd_works(frames)]
    notes += _shift_notes(config.model, found.isolated, shifts, species, model)
    return TrainingData(
        training,
        validation,
        Statistics(
            species,
            shifts,
            scale,
            average_neighbours(training),
            shortest_distances([training], species, config.model.r_max),
        ),
        labels,
        sorted(trained_before),
        notes,
    )


def with_oracle_frames(
    config: TrainConfig, data: TrainingData, folder: Path, before: Path | None = None
) -> TrainingData:
    """`data` with what `config.pretrain` asks for; labels are kept in `folder`. At most half of the minutes are spent.

    `before`: where another training kept its labels, which are taken instead. Raises ValueError as
    `pretrain.frames.oracle_frames` or `labelled_before`, and where one trajectory took all minutes.
    """
    if config.pretrain is None:
        return data
    minutes, statistics = config.optimiser.minutes, data.statistics
    given = data.training.frames
    if before is None:
        made = oracle_frames(config.pretrain, config.seed, given, folder, None if minutes is None else 30.0 * minutes)
    else:
        made = labelled_before(given, before)
    if minutes is not None and made.seconds >= 60.0 * minutes:
        raise ValueError(
            f"pretrain: {len(made.frames)} frames took {made.seconds:.3g} s, all that 'optimiser.minutes' {minutes:g} "
            "allows; give it more workers, or the training more minutes"
        )
    graphs = build_graphs(made.frames, statistics.species, config.model.r_max)
    oracle = InMemory([replace(graph, index=len(given) + graph.index) for graph in graphs])
    # The repulsion makes room for them too: they are nearer to what hot given ones would be.
    near = shortest_distances([data.training, oracle], statistics.species, config.model.r_max)
    return replace(
        data,
        statistics=replace(statistics, shortest_distances=near),
        notes=[*data.notes, *made.notes],
        oracle=oracle,
        oracle_seconds=made.seconds,
    )


def _trained_labels(config: TrainConfig, training: Sequence[Summary]) -> list[str]:
    present = {name for frame in training for name in frame.labels}
    loss = config.loss
    weights = {"energy": loss.energy, "forces": loss.forces}
    if isinstance(loss.stress, str):  # auto
        weights["stress"] = loss.forces
    else:
        weights["stress"] = loss.stress
    if loss.stress != "auto" and weights["stress"] > 0.0 and "stress" not in present:
        raise ValueError(
            f"loss.stress is {loss.stress}, but no training frame of {config.data.train} has a stress "
            f"(key '{config.data.stress_key}')"
        )
    labels = [name for name in LABELS if weights[name] > 0.0 and name in present]
    if not labels:
        raise ValueError(
            f"{config.data.train}: the training frames have {', '.join(sorted(present))} only, and the loss gives no "
            "weight to that"
        )
    return labels


def _require_elements(validation: Sequence[Summary], species: Sequence[str]) -> None:
    for frame in validation:
        unknown = sorted(set(frame.composition) - set(species))
        if unknown:
            raise ValueError(
                f"{frame.origin}: a validation frame with {', '.join(unknown)}, which no training frame has; "
                f"known are {', '.join(species)}"
            )


def _overlap(training: Sequence[Summary], validation: Sequence[Summary], trained_before: Collection[str]) -> list[str]:
    seen = {frame.content for frame in training} | set(trained_before)
    both = [frame for frame in validation if frame.content in seen]
    if not both:
        return []
    return [
        f"{len(both)} of {len(validation)} validation frames are trained on, so that their errors say little: "
        f"{names(both)}"
    ]


def _split_notes(
    frames: Sequence[Summary], validation: Sequence[Summary], fraction: float, trained_before: Collection[str]
) -> list[str]:
    notes = []
    if fraction > 0.0 and not validation:
        notes.append(
            f"all {len(frames)} frames are trained on, none is set aside for validation (data.valid_fraction "
            f"{fraction:g}: from {validation_from(fraction)} frames on)"
        )
    known = sum(frame.content in trained_before for frame in frames) if trained_before else 0
    if known and fraction > 0.0:
        notes.append(f"{known} of {len(frames)} frames were trained on by the initial model and stay training frames")
    return notes


def _shift_notes(
    config: ModelConfig, isolated: Sequence[Summary], shifts: Shifts, species: Sequence[str], model: Potential | None
) -> list[str]:
    notes = []
    atoms = sorted({next(iter(frame.composition)) for frame in isolated if frame.energy is not None} & set(species))
    if atoms and config.shifts != "auto" and config.shifts != "isolated_atoms":
        notes.append(f"isolated atoms of {', '.join(atoms)} are not used: model.shifts asks for other energies")
    values = dict(zip(species, shifts.energies, strict=True))
    if model is not None:
        kept = dict(zip(model.species, model.atomic_shifts.mean(dim=0).tolist(), strict=True))
        new = [symbol for symbol in species if symbol not in kept]
        if new:
            notes.append(f"{', '.join(new)}: new to the initial model, which knows {', '.join(kept)}")
        others = [s for s in kept if s not in shifts.fitted and abs(kept[s] - values[s]) > 0.01]
        if others:
            found = ", ".join(f"{s} {kept[s]:.2f} eV (given: {values[s]:.2f})" for s in others)
            notes.append(f"energy shifts of the initial model are kept: {found}")
        values |= kept
    if shifts.undetermined:
        found = ", ".join(f"{symbol} {values[symbol]:.2f}" for symbol in shifts.undetermined)
        notes.append(
            f"the frames' compositions do not tell the energies of {', '.join(shifts.undetermined)} apart; taken are "
            f"{found} eV, a guess that is right for these compositions only; isolated atoms in data.train would "
            "settle it"
        )
    return notes
