"""The frames that a run starts from: read, checked against the oracle, shaken where they teach too little."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from ..data.frames import Frame, frames_from_atoms
from ..data.keys import AUTO, REFERENCE_KEYS, LabelKeys, find_label
from ..data.splits import split_frames
from ..images import read_images
from ..oracle.labels import Label
from .config import LoopConfig, StartConfig
from .explore.judged import rattled
from .guard import Guard
from .label.labelling import label_again, label_chosen
from .label.spool import spool_file
from .sides import side_rule
from .store import GIVEN, LABELLED, PERTURBED, TRAIN, VALIDATION, Store, StoredFrame, content_key, label_of
from .systems import explorer_of, systems_of

Say = Callable[[str], None]
ENERGY_TOLERANCE = 1e-3
"""eV an atom, between a label that was given and the oracle's."""
FORCE_TOLERANCE = 1e-2
"""eV/Å of a component, likewise."""
_ROOM_TEMPERATURE = 300.0
_STREAM = 13


def is_isolated_atom(atoms: Atoms) -> bool:
    """Whether a frame is a free atom, which sets an energy shift and has no dynamics."""
    return Frame.unlabelled(atoms, "").is_isolated_atom


def prepare_start(config: LoopConfig, store: Store, spool: Path, say: Say) -> None:
    """Put the given frames into the store, labelled; shaken copies too, where there is need.

    Raises ValueError: the frames cannot be read or labelled, or their labels are not the oracle's.
    """
    n_frames = {}
    for system, settings in systems_of(config).items():
        frames = read_loop_frames(settings.frames, config)
        n_frames[system] = len(frames)
        calls = {}
        if config.check_labels and not _given(store, system):
            calls = check_labels(frames, settings.frames, config, spool)
        store.add_given(frames, side_of=_sides(frames, config).__getitem__, calls=calls, system=system)
    for frame in store.frames(arm=GIVEN, status=LABELLED):  # the label that was computed again
        spool_file(spool, frame.columns["content"]).unlink(missing_ok=True)
    label_chosen(store, config.oracle, spool, GIVEN, report=say)
    for system, settings in systems_of(config).items():
        labelled = [f for f in _given(store, system, source=GIVEN, status=LABELLED) if not is_isolated_atom(f.atoms)]
        if not labelled:
            raise ValueError(f"{settings.frames}: none of {n_frames[system]} frames could be labelled")
        reason = why_perturb([frame.atoms for frame in labelled], config.start)
        if reason is not None:
            _add_perturbed(reason, labelled, config, store, say, system)
    label_chosen(store, config.oracle, spool, GIVEN, report=say)


def _given(store: Store, system: str, **where: str) -> list[StoredFrame]:
    return [frame for frame in store.frames(arm=GIVEN, **where) if frame.system == system]


def read_start(config: LoopConfig) -> list[Atoms]:
    """The frames that the run starts from, system by system; see `read_loop_frames`."""
    return [atoms for system in systems_of(config).values() for atoms in read_loop_frames(system.frames, config)]


def read_loop_frames(path: Path, config: LoopConfig) -> list[Atoms]:
    """The frames of a file, those with energy and forces labelled, under ASE's names.

    An isolated atom needs an energy only: nothing pulls at it.

    Raises ValueError: the file cannot be read, or its labels are unusable.
    """
    images = read_images(path)
    keys = LabelKeys(config.energy_key, config.forces_key, config.stress_key)
    with_labels = [k for k, atoms in enumerate(images) if _has_label(atoms, keys)]
    frames = [Atoms(a.numbers, a.get_positions(), cell=a.cell, pbc=a.pbc) for a in images]
    if not with_labels and keys == LabelKeys():
        return frames
    if not with_labels:
        raise ValueError(f"{path}: no frame has a label named by energy_key, forces_key or stress_key")
    labelled = frames_from_atoms([images[k] for k in with_labels], str(path), keys)
    for k, frame in zip(with_labels, labelled, strict=True):
        forces = np.zeros((1, 3)) if frame.is_isolated_atom else frame.forces
        if frame.energy is None or forces is None:
            continue
        results = {"energy": frame.energy, "forces": forces}
        if frame.stress is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(frame.stress)
        frames[k].calc = SinglePointCalculator(frames[k], **results)
    return frames


def _has_label(atoms: Atoms, keys: LabelKeys) -> bool:
    for label, reference in REFERENCE_KEYS.items():
        key = getattr(keys, label)
        names = (reference, label) if key == AUTO else (key,)
        if any(find_label(atoms, name) is not None for name in names):
            return True
    return False


def start_fingerprint(config: LoopConfig) -> str:
    """Changes when the starting frames or their labels do."""
    digest = hashlib.sha256()
    for atoms in read_start(config):
        digest.update(content_key(atoms).encode())
        label = label_of(atoms)
        if label is not None:
            digest.update(np.array([label.energy, *np.ravel(label.forces)], dtype="<f8").tobytes())
    return digest.hexdigest()[:24]


def _sides(images: Sequence[Atoms], config: LoopConfig) -> dict[str, str]:
    """The side of each starting frame by its key; they are decided together, later ones one by one."""
    frames = [Frame.unlabelled(atoms, "") for atoms in images]
    different = {frame.content: frame for frame in frames if not frame.is_isolated_atom}
    fraction = config.training.valid_fraction
    _, validation = split_frames(list(different.values()), fraction, config.seed)
    sides = {frame.content: TRAIN for frame in frames}
    return sides | {frame.content: VALIDATION for frame in validation}


def check_labels(frames: Sequence[Atoms], path: Path, config: LoopConfig, spool: Path) -> dict[str, int]:
    """Have the oracle compute the given label with the largest forces; the calls by the frame's key.

    Raises ValueError: the label, of a frame of `path`, is another one, or the oracle fails.
    """
    labels = [(k, label_of(atoms)) for k, atoms in enumerate(frames) if not is_isolated_atom(atoms)]
    found = [(k, label) for k, label in labels if label is not None]
    if not found:
        return {}
    index, given = max(found, key=lambda row: float(np.abs(row[1].forces).max()))
    atoms = frames[index]
    frame = StoredFrame(0, Atoms(atoms), {"content": content_key(atoms)})
    result, calls = label_again(config.oracle, frame, spool)
    where = f"{path}: frame {index}"
    escape = "check_labels: false goes on without this check"
    if not isinstance(result, Label):
        raise ValueError(f"{where}: the oracle ({config.oracle.name}) failed on it: {result}; {escape}")
    energy_error = abs(result.energy - given.energy) / len(atoms)
    force_error = float(np.abs(result.forces - given.forces).max())
    if energy_error > ENERGY_TOLERANCE or force_error > FORCE_TOLERANCE:
        raise ValueError(
            f"{where} has an energy of {given.energy:.6f} eV, the oracle ({config.oracle.name}) gives "
            f"{result.energy:.6f} eV, and the forces differ by up to {force_error:.4f} eV/Å: labels of two "
            f"methods would mix. Take the labels out of the file, or make the oracle the same; {escape}"
        )
    return {content_key(atoms): calls}


def why_perturb(frames: Sequence[Atoms], settings: StartConfig) -> str | None:
    """Why labelled frames teach next to nothing about forces, or None if they do not need shaking.

    What counts is how forces differ between frames of the same atoms; a single frame of its kind counts as
    it is.
    """
    if settings.perturb is not True and len(frames) > 1:
        groups = defaultdict(list)
        for atoms in frames:
            groups[tuple(atoms.numbers.tolist())].append(atoms.get_forces())
        spreads = [np.array(group) - (np.mean(group, axis=0) if len(group) > 1 else 0.0) for group in groups.values()]
        spread = float(np.sqrt(np.mean(np.concatenate([s.ravel() for s in spreads]) ** 2)))
        if settings.perturb is False or spread > settings.vanishing:
            return None
        return f"the forces of the {len(frames)} starting frames are as good as equal ({spread:.3f} eV/Å)"
    if settings.perturb is False:
        return None
    return "the config says so" if len(frames) > 1 else "there is one starting frame only"


def perturbed_frames(
    frames: Sequence[Atoms], settings: StartConfig, temperature: float, guard: Guard, seed: int
) -> list[Atoms]:
    """`settings.n_frames` shaken copies of `frames` by turns, none of which `guard` refuses.

    `temperature` (K) scales the amplitude, as thermal displacements grow.
    """
    shaken = []
    amplitude = settings.amplitude * np.sqrt(temperature / _ROOM_TEMPERATURE)
    for index, factor in enumerate(np.linspace(0.5, 1.5, settings.n_frames)):
        rng = np.random.default_rng([seed, _STREAM, index])
        start, width = frames[index % len(frames)], amplitude * factor
        atoms = rattled(start, width, rng)
        while guard(atoms) is not None:
            width *= 0.8
            atoms = rattled(start, width, rng)
        shaken.append(atoms)
    return shaken


def _add_perturbed(
    reason: str, labelled: Sequence[StoredFrame], config: LoopConfig, store: Store, say: Say, system: str
) -> None:
    """Store shaken copies of the given frames of a system, to be labelled; again: only what is missing."""
    frames = [frame.atoms for frame in labelled]
    guard = Guard(config.guard, frames)
    cold = explorer_of(config, system).first_temperature
    shaken = perturbed_frames(frames, config.start, cold, guard, config.seed)
    if not _given(store, system, source=PERTURBED):
        say(f"{system}{': ' * bool(system)}{reason}: {len(shaken)} shaken copies are labelled too")
    side = side_rule(config, len(frames) + len(shaken))
    store.add_given(shaken, source=PERTURBED, side_of=side, system=system)
