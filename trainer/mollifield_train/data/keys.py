"""Under which names labels lie in a file, so that levels of theory never mix silently."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
class Source:
    """Configurations and the name of the file that they are from."""

    name: str
    images: Sequence[ase.Atoms]


def find_label(atoms: ase.Atoms, key: str) -> object | None:
    """The label of this name, or None."""
    for mapping in (atoms.info, atoms.arrays, atoms.calc.results if atoms.calc else {}):
        if mapping.get(key) is not None:
            return mapping[key]
    return None


def resolve_keys(sources: Iterable[Source], keys: LabelKeys) -> dict[str, str]:
    """One key for each label, the same for all sources.

    A key that is given is taken as it is. The others are REF_energy, REF_forces and REF_stress where a frame has any
    of these, else ASE's names. Raises ValueError for a given key that no frame has, and where labels of one frame, or
    of two, would come from both families.
    """
    sources = list(sources)
    automatic = [label for label in REFERENCE_KEYS if getattr(keys, label) == AUTO]
    given = {label: key for label, key in vars(keys).items() if label not in automatic and key is not None}
    for label, key in given.items():
        _require_somewhere(sources, key, label)
    return {**given, **_automatic_keys(sources, automatic)}


def _automatic_keys(sources: Sequence[Source], labels: Sequence[str]) -> Mapping[str, str]:
    reference = _first(sources, {REFERENCE_KEYS[label]: () for label in labels})
    if reference is None:
        return {label: label for label in labels}
    plain = _first(sources, {label: (REFERENCE_KEYS[label],) for label in labels})
    if plain is not None:
        raise ValueError(
            f"{reference[0]} has '{reference[1]}', {plain[0]} has '{plain[1]}' and no '{REFERENCE_KEYS[plain[1]]}': "
            "two levels of theory? Make the names the same, or say which to take with energy_key, forces_key and "
            "stress_key"
        )
    return {label: REFERENCE_KEYS[label] for label in labels}


def _first(sources: Iterable[Source], wanted: dict[str, Sequence[str]]) -> tuple[str, str] | None:
    """(frame, key) of the first frame with a key of `wanted` and none of the keys that this one excludes."""
    for source in sources:
        for k, atoms in enumerate(source.images):
            for key, excluded in wanted.items():
                if find_label(atoms, key) is None:
                    continue
                if all(find_label(atoms, other) is None for other in excluded):
                    return f"frame {k} of {source.name}", key
    return None


def _require_somewhere(sources: Sequence[Source], key: str, label: str) -> None:
    if _first(sources, {key: ()}) is None:
        names = ", ".join(source.name for source in sources)
        raise ValueError(f"{names}: no frame has '{key}' ({label}); {present(sources[0].images[0])}")


def present(atoms: ase.Atoms) -> str:
    """What a frame has, for messages."""
    results = sorted(atoms.calc.results) if atoms.calc else []
    found = {"arrays": sorted(atoms.arrays), "info": sorted(map(str, atoms.info)), "results": results}
    return "; ".join(f"{kind} present: {', '.join(names) or 'none'}" for kind, names in found.items())
