"""Values of a YAML file, and of `section.key=value` on a command line, before anybody has looked at what they mean."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from .model.presets import PRESET


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises ValueError if it is missing, is no mapping or has a key twice."""
    path = Path(path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        raise ValueError(f"{path}: cannot read the config file: {error.strerror}") from error
    except _DuplicateKey as error:
        raise ValueError(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a mapping of keys, found {type(values).__name__}")
    return values


class _DuplicateKey(yaml.YAMLError):
    pass


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML without the silent last word of a key that stands twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # '<<', whose keys may be overridden
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                break  # an error, which PyYAML words
            if key in lines:
                raise _DuplicateKey(f"key '{key}' in line {line} stands in line {lines[key]} already")
            lines[key] = line
        return super().construct_mapping(node, deep)


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one 'section.key=value' in nested `values`, in place."""
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"--set {override}: expected section.key=value")
    try:
        set_key(values, name.strip(), yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"--set {override}: '{text}' is not valid YAML") from error
    except ValueError as error:
        raise ValueError(f"--set {override}: {error}") from None


def set_key(values: dict[str, Any], name: str, value: Any) -> None:
    """Set the key with the dotted path `name` in nested `values`; raises ValueError for a path through a value.

    The name of a model's preset becomes a section, in which the key overrides one of its values.
    """
    *sections, key = name.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        if section == "model" and isinstance(values[section], str):
            values[section] = {PRESET: values[section]}
        values = values[section]
        if not isinstance(values, dict):
            raise ValueError(f"'{section}' is a value, not a section")
    values[key] = value
