"""Whether a run may be continued with another config: what training runs and loops ask alike."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from .config import DataConfig, OptimiserConfig
from .model import as_meant_today

LATER_KEYS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "model": as_meant_today,
    "data": lambda written: DataConfig.EARLIER | written,
    "optimiser": lambda written: OptimiserConfig.EARLIER | written,
}
"""Sections of a training config that earlier versions wrote with fewer keys, and what adds these."""


def with_later_keys(training: dict[str, Any]) -> dict[str, Any]:
    """A training config in plain values, or a loop's part of one, as it was meant when it was written."""
    return training | {name: add(training[name]) for name, add in LATER_KEYS.items() if name in training}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str] = ()) -> list[str]:
    """'key was a, is b' for each key in which two nested configs in plain values differ, by its dotted path.

    Keys in `free` may differ, sections among them with all that is in them; a key that is missing counts
    as null.
    """
    old, new = _flat(before), _flat(now)
    return [
        f"{key} was {old.get(key)}, is {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not any(key == f or key.startswith(f"{f}.") for f in free)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a.b': 1} of {'a': {'b': 1}}; an empty section is a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inside = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{key}.") if inside else {prefix + key: value}
    return flat
