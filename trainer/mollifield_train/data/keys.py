"""Under which names labels lie in a file, so that levels of theory never mix silently."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import ase

AUTO = "auto"
REFERENCE_KEYS = {"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress"}


@dataclass(frozen=True)
class LabelKeys:
    """Names of the labels in a file; 'auto' takes REF_energy and so on first, then ASE's."""

    energy: str = AUTO
    forces: str = AUTO
    stress: str = AUTO
    virial: str | None = None
    """None is taken unless it is named: its sign and unit are nobody's convention."""


@dataclass(frozen=True)
class Presence:
    """Which labels frames of one file have, as far as their names are chosen by that."""

    name: str
    """Of the file."""
    first: Mapping[str, int]
    """By key, of those that are given and of `REFERENCE_KEYS`: the first frame that has it."""
    alone: Mapping[str, int]
    """By ASE's names: the first frame that has it and not the one of `REFERENCE_KEYS`."""
    found: str
    """What the first frame has, for messages."""


def find_label(atoms: ase.Atoms, key: str) -> object | None:
    """The label of this name, or None."""
    for mapping in (atoms.info, atoms.arrays, atoms.calc.results if atoms.calc else {}):
        if mapping.get(key) is not None:
            return mapping[key]
    return None


def presence(name: str, images: Iterable[ase.Atoms], keys: LabelKeys, start: int = 0) -> Presence:
    """Of configurations of a file, the first of which is its frame `start`."""
    automatic, given = _automatic(keys), _given(keys)
    first: dict[str, int] = {}
    alone: dict[str, int] = {}
    found = ""
    for k, atoms in enumerate(images, start):
        found = found or present(atoms)
        for key in [*given.values(), *(REFERENCE_KEYS[label] for label in automatic)]:
            if key not in first and find_label(atoms, key) is not None:
                first[key] = k
        for label in automatic:
            missing = label not in alone and find_label(atoms, REFERENCE_KEYS[label]) is None
            if missing and find_label(atoms, label) is not None:
                alone[label] = k
    return Presence(name, first, alone, found)


def joined(name: str, parts: Sequence[Presence]) -> Presence:
    """Of the file `name`, from those of its parts, in order, which may have had another name."""
    first = {key: k for part in reversed(parts) for key, k in part.first.items()}
    alone = {key: k for part in reversed(parts) for key, k in part.alone.items()}
    return Presence(name, first, alone, parts[0].found)


def resolve_keys(sources: Sequence[Presence], keys: LabelKeys) -> dict[str, str]:
    """One key for each label, the same for all sources.

    A key that is given is taken as it is. The others are REF_energy, REF_forces and REF_stress where a frame has any
    of these, else ASE's names. Raises ValueError for a given key that no frame has, and where labels of one frame, or
    of two, would come from both families.
    """
    for label, key in _given(keys).items():
        if not any(key in source.first for source in sources):
            names = ", ".join(source.name for source in sources)
            raise ValueError(f"{names}: no frame has '{key}' ({label}); {sources[0].found}")
    labels = _automatic(keys)
    reference = _first(sources, [REFERENCE_KEYS[label] for label in labels], "first")
    plain = _first(sources, labels, "alone")
    if reference is not None and plain is not None:
        raise ValueError(
            f"{reference[0]} has '{reference[1]}', {plain[0]} has '{plain[1]}' and no '{REFERENCE_KEYS[plain[1]]}': "
            "two levels of theory? Make the names the same, or say which to take with energy_key, forces_key and "
            "stress_key"
        )
    return chosen_keys(sources, keys)


def chosen_keys(sources: Sequence[Presence], keys: LabelKeys) -> dict[str, str]:
    """The same without its checks: of a part of a file, which has the keys of the whole, unless these are an error."""
    labels = _automatic(keys)
    reference = _first(sources, [REFERENCE_KEYS[label] for label in labels], "first") is not None
    return _given(keys) | {label: REFERENCE_KEYS[label] if reference else label for label in labels}


def _automatic(keys: LabelKeys) -> list[str]:
    return [label for label in REFERENCE_KEYS if getattr(keys, label) == AUTO]


def _given(keys: LabelKeys) -> dict[str, str]:
    automatic = _automatic(keys)
    return {label: key for label, key in vars(keys).items() if label not in automatic and key is not None}


def _first(sources: Sequence[Presence], keys: Sequence[str], kind: Literal["first", "alone"]) -> tuple[str, str] | None:
    """(frame, key) of the first frame that has one of `keys`."""
    for source in sources:
        places: Mapping[str, int] = getattr(source, kind)
        found = [key for key in keys if key in places]
        if found:
            key = min(found, key=places.__getitem__)
            return f"frame {places[key]} of {source.name}", key
    return None


def present(atoms: ase.Atoms) -> str:
    """What a frame has, for messages."""
    results = sorted(atoms.calc.results) if atoms.calc else []
    found = {"arrays": sorted(atoms.arrays), "info": sorted(map(str, atoms.info)), "results": results}
    return "; ".join(f"{kind} present: {', '.join(names) or 'none'}" for kind, names in found.items())
