"""What config files may say, from the classes that read them: for people as Markdown, for editors as a JSON schema."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .section import ANY_OF_KINDS, Section, Tagged


def configs() -> dict[str, type[Section]]:
    """The files by the command that reads them, or its property."""
    from .active.barrier_config import LearnConfig
    from .active.config import LoopConfig
    from .config import TrainConfig
    from .sweep.config import SweepConfig

    return {"train": TrainConfig, "loop": LoopConfig, "sweep": SweepConfig, "neb": LearnConfig}


def json_schema(config: type[Section]) -> dict[str, Any]:
    """A schema (JSON Schema 2020-12) in which blocks with a `kind` may be any of its table's."""
    schema = config.model_json_schema()
    found = schema.setdefault("$defs", {})
    for section in sections(config):
        if section is config:
            continue
        own = section.model_json_schema()
        for name, definition in (own.pop("$defs", {}) | {section.__name__: own}).items():
            found.setdefault(name, definition)
        found[section.__name__] = own
    linked: dict[str, Any] = _linked(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | linked


def _linked(part: Any) -> Any:
    """With references where the names of kinds stood."""
    if isinstance(part, list):
        return [_linked(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: _linked(value) for key, value in part.items() if key != ANY_OF_KINDS}
    if ANY_OF_KINDS in part:
        found["anyOf"] = [*({"$ref": f"#/$defs/{name}"} for name in part[ANY_OF_KINDS]), *part.get("anyOf", [])]
    return found


def markdown(config: type[Section], title: str) -> str:
    """All sections that a file may have, each with its keys, their defaults and what they mean."""
    parts = [f"## {title}\n"]
    for section in sections(config):
        name, of_class = _name(section), section.__name__
        heading = f"### `{name}`" + (f" ({of_class})" if name != of_class else "")
        where = "" if section is config else f"{heading}\n\n"
        parts.append(f"{where}{inspect.getdoc(section) or ''}\n\n{_table(section)}\n")
    return "\n".join(parts)


def sections(config: type[Section]) -> list[type[Section]]:
    """The class and all below it, each once, in the order of the file."""
    found: list[type[Section]] = []
    waiting = [config]
    while waiting:
        section = waiting.pop(0)
        if section in found:
            continue
        found.append(section)
        inner = [each for field in section.model_fields.values() for each in _inside(field)]
        waiting = inner + waiting
    return found


def _inside(field: FieldInfo) -> list[type[Section]]:
    tables = [each for each in _parts(field) if isinstance(each, Tagged)]
    if tables:
        return [kind.section for table in tables for kind in table.table.values()]
    return [each for each in _parts(field) if isinstance(each, type) and issubclass(each, Section)]


def _parts(field: FieldInfo) -> Iterator[Any]:
    """All that an annotation is made of."""
    waiting: list[Any] = [field.annotation, *field.metadata]
    while waiting:
        part = waiting.pop(0)
        yield part
        waiting += [*get_args(part), *getattr(part, "__metadata__", ())]


def _name(section: type[BaseModel]) -> str:
    """What the file says to get this section: the value of its tag, or the name of its class."""
    for tag in ("kind", "form"):
        field = section.model_fields.get(tag)
        if field is not None and isinstance(field.default, str):
            return f"{tag}: {field.default}"
    return section.__name__


def _table(section: type[BaseModel]) -> str:
    lines = ["| key | default | |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        text = " ".join((field.description or "").split()).replace("|", "\\|")
        others = [f"`{_name(each)}`" for each in _inside(field)]
        if others:
            text += f" ({'; '.join(dict.fromkeys(others))})"
        lines.append(f"| `{name}` | {_default(field)} | {text} |")
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return f"required, {_type(field.annotation)}"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{_name(type(value))}`"
    return f"`{json.dumps(value, default=_plain, ensure_ascii=False)}`"


def _plain(value: Any) -> str:
    """Of what JSON does not know."""
    return _name(type(value)) if isinstance(value, BaseModel) else str(value)


def _type(annotation: Any) -> str:
    """In the words of a YAML file."""
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "mapping", list: "list"}
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_type(each) for each in get_args(annotation))
    if annotation in plain:
        return plain[annotation]
    return plain.get(get_origin(annotation), getattr(annotation, "__name__", "text").lower())
