"""Whether a run may be continued with another config: what training runs and loops ask alike."""

from collections.abc import Collection, Mapping
from typing import Any


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
