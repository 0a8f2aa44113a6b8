"""Settings that were measured, by name: points on the plane of error and cost (docs/accuracy.md)."""

from typing import Any

from ..section import TAG

PRESET = "preset"
"""The key that names one, beside keys that override single values of it."""

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {TAG: "equivariant", "n_layers": 1, "n_channels": 16},
    "balanced": {TAG: "equivariant"},
    "accurate": {TAG: "equivariant", "messages": "coupled"},
}
"""What each sets; all else is as the defaults of its kind say, which are those of `balanced`."""


def with_preset(values: Any) -> Any:
    """A model's block with the values of its preset: from `fast`, or from `{preset: fast, n_channels: 32}`.

    Raises ValueError for a name that is not in the table.
    """
    block = {PRESET: values} if isinstance(values, str) else values
    if not isinstance(block, dict) or PRESET not in block:
        return values
    name = block[PRESET]
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}: allowed are {', '.join(PRESETS)}")
    return PRESETS[name] | {key: value for key, value in block.items() if key != PRESET}
