"""Configs of the loop as earlier releases wrote them, in today's words.

They had a list of arms, `active` and `random`, and one `acquisition` for the first of them; keys that a kind has no
use for were there all the same, empty; and the test set's thermostat was the explorer's.
"""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]

_ONLY_OF = {("oracle", "method"): "tblite", ("oracle", "calculator"): "ase", ("explorer", "n_ranks"): "lammps"}
"""Keys that every config had, for the one kind that they meant something to."""
_EMPTY = {"method": None, "calculator": None, "n_ranks": 1}
_OF_DIVERSITY = {
    "descriptor": ("farthest_points", "uncertain_then_diverse"),
    "pool_factor": ("uncertain_then_diverse",),
}


def modern(values: Any) -> Any:
    """A config file of any release; what is no old spelling is left alone, mistakes included.

    Raises ValueError: arms are a list with a name that never was one, or twice the same; or an acquisition has no
    arm.
    """
    if not isinstance(values, dict):
        return values
    values = {**values}
    for (section, key), kind in _ONLY_OF.items():
        block = values.get(section)
        empty = isinstance(block, dict) and key in block and block[key] == _EMPTY[key]
        if empty and (block[key] is None or block.get("kind", kind) != kind):
            values[section] = {name: value for name, value in block.items() if name != key}
    names = values.get("arms", ["active"] if "acquisition" in values else {})
    if isinstance(names, list):
        values["arms"] = _arms(names, values.pop("acquisition", {}))
    elif "acquisition" in values:
        raise ValueError("'acquisition' goes into 'arms', after the name of an arm: arms: {active: {kind: ...}}")
    return values


def _arms(names: list[Any], acquisition: Any) -> Values:
    if len(set(map(str, names))) < len(names):
        raise ValueError(f"'arms' lists one twice: {', '.join(map(str, names))}")
    unknown = [name for name in names if name not in ("active", "random")]
    if unknown:
        raise ValueError(
            f"'arms' lists {unknown[0]!r} without its acquisition: write arms: {{{unknown[0]}: {{kind: ...}}}}"
        )
    if isinstance(acquisition, dict):
        kind = acquisition.get("kind", "uncertain_then_diverse")
        acquisition = {key: value for key, value in acquisition.items() if kind in _OF_DIVERSITY.get(key, (kind,))}
    return {name: {"kind": "random"} if name == "random" else acquisition for name in names}


def stored(values: Values) -> Values:
    """The config that a run was started with, of any release, to be compared with today's."""
    values = modern(values)
    oracle, explorer, test_set = (values.get(name) for name in ("oracle", "explorer", "test_set"))
    if isinstance(oracle, dict) and oracle.get("kind") == "tblite":
        values["oracle"] = {"method": "GFN2-xTB"} | oracle
    if isinstance(explorer, dict) and isinstance(test_set, dict) and "damping" in explorer:
        values["test_set"] = {"damping": explorer["damping"]} | test_set
    return values
