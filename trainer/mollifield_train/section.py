"""Blocks of a config file as strict pydantic models, and errors that say where a file is wrong.

A field's docstring is its documentation. An unknown key is an error that names the nearest right one, with the file
and the full path of the key.
"""

import contextlib
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, TypeVar, get_origin

import pydantic
from pydantic import BaseModel, ConfigDict
from pydantic_core import CoreSchema, InitErrorDetails, core_schema

from .kinds import Kinds

TAG = "kind"
"""The key that tells the sections of a table apart."""
ANY_OF_KINDS = "x-any-of-kinds"
"""In raw JSON schemas: the names of the sections that may stand in this place."""


class Section(BaseModel):
    """A block of the file: no unknown keys, no infinite numbers, never changed after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


AnySection = TypeVar("AnySection", bound=BaseModel)


def imported_late(module: str, name: str) -> Callable[..., Any]:
    """A function of a module that is imported at the first call: to read a config, nobody waits for what it imports."""

    def function(*arguments: Any) -> Any:
        return getattr(import_module(module), name)(*arguments)

    return function


class Kind(NamedTuple):
    """A line of a table of kinds: what its block of the file may say, and what is made of it."""

    section: type[Any]
    """A `Section` with a field `kind`, whose only value is the kind's name in the table; of a kind that is named by its
    import path, any text."""
    make: Callable[..., Any]


@dataclass(frozen=True, eq=False)  # a table has no hash, and unions ask for one
class Tagged:
    """`Annotated[SerializeAsAny[Base], Tagged(table, "default")]`: one of the sections in a table, by its `kind`
    or another `tag`.

    The table is asked when a file is read, not when this is written, so that kinds may be added to it at any time. Of a
    table that is `Kinds`, `kind: my_module.MINE` is a `Kind` of somebody else's module.
    """

    table: Mapping[str, Kind]
    default: str
    """The kind of a block that doesn't say."""
    tag: str = TAG
    """The key that says it."""

    def section(self, values: Any) -> type[Section] | None:
        """The class for a block of the file; None where there is no such kind."""
        name = values.get(self.tag, self.default) if isinstance(values, dict) else self.default
        with contextlib.suppress(KeyError, ValueError):
            if isinstance(name, str):
                return self.table[name].section
        return None

    def __get_pydantic_core_schema__(self, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Names of the sections, in whose place `config_reference.json_schema` puts references to them."""
        found: dict[str, Any] = {ANY_OF_KINDS: [kind.section.__name__ for kind in self.table.values()]}
        if isinstance(self.table, Kinds):
            path = {"type": "string", "pattern": r"\."}
            found["anyOf"] = [{"type": "object", "required": [self.tag], "properties": {self.tag: path}}]
        return found

    def _read(self, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        section = self.section(values)
        if section is None:
            with contextlib.suppress(KeyError, TypeError):
                self.table[values[self.tag]]  # of an import path this says what is wrong
            names = " or ".join(repr(name) for name in self.table)
            problem = InitErrorDetails(
                type="literal_error", loc=(self.tag,), input=values[self.tag], ctx={"expected": names}
            )
            raise pydantic.ValidationError.from_exception_data(self.tag, [problem])
        return section.model_validate(values)


@dataclass(frozen=True)
class AlsoWord:
    """Beside a block, in a JSON schema: a word that stands for one, alone or under `key` of a block."""

    words: tuple[str, ...]
    key: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        word = {"enum": list(self.words)}
        block = {"type": "object", "required": [self.key], "properties": {self.key: word}}
        return {"anyOf": [handler(schema), word, block]}


def validated(model: type[AnySection], values: dict[str, Any], source: str) -> AnySection:
    """`model` filled from `values`; raises ValueError naming `source` and the path of each key."""
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        problems = [_describe(model, values, problem) for problem in error.errors()]
        raise ValueError("; ".join(f"{source}: {problem}" for problem in problems)) from None


def _describe(model: type[BaseModel], values: Any, problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        section, keys = _section_at(model, values, problem["loc"][:-1])
        key, known = str(problem["loc"][-1]), list(section.model_fields)
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"known keys: {', '.join(known)}"
        return f"unknown key '{'.'.join([*keys, key])}'; {hint}"
    location = ".".join(_section_at(model, values, problem["loc"])[1])
    if problem["type"] == "missing":
        return f"key '{location}' is missing"
    message = problem["msg"].removeprefix("Value error, ")
    where = f"key '{location}': " if location else ""
    # A rule about a whole section names its keys and what they are.
    section_rule = problem["type"] == "value_error" and isinstance(problem["input"], dict)
    found = "" if section_rule else f", found {problem['input']!r}"
    return f"{where}{message[0].lower()}{message[1:]}{found}"


def _section_at(model: type[BaseModel], values: Any, location: tuple[Any, ...]) -> tuple[type[BaseModel], list[str]]:
    """The section class that a location of pydantic's leads to, and the keys on the way as they stand in the file.

    A discriminated union puts the tag of its choice into the location, after the key that holds the block. Keys of a
    mapping are names, such as those of the loop's arms, and no fields.
    """
    keys: list[str] = []
    choices, field = [model], None
    names_follow = False
    for part in location:
        chosen = [section for section in choices if part in _tags(section)] if len(choices) > 1 else []
        if chosen:
            choices = chosen
            continue
        keys.append(str(part))
        values = _value_at(values, part)
        is_name = names_follow or isinstance(part, int)
        field = field if is_name else choices[0].model_fields.get(str(part))
        names_follow = not is_name and field is not None and get_origin(field.annotation) is dict
        if field is not None:
            choices = _choices([field.annotation, *field.metadata], values) or choices
    return choices[0], keys


def _value_at(values: Any, part: Any) -> Any:
    if isinstance(values, dict):
        return values.get(part)
    return values[part] if isinstance(values, list) and isinstance(part, int) and part < len(values) else None


def _choices(annotations: Iterable[Any], values: Any) -> list[type[BaseModel]]:
    """Section classes that a place with such annotations may hold."""
    found: list[type[BaseModel]] = []
    for annotation in annotations:
        if isinstance(annotation, Tagged):
            section = annotation.section(values)
            return [] if section is None else [section]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        inner = [*getattr(annotation, "__args__", ()), *getattr(annotation, "__metadata__", ())]
        found += _choices(inner, values)
    return found


def _tags(section: type[BaseModel]) -> tuple[Any, ...]:
    field = section.model_fields.get(TAG)
    return () if field is None else getattr(field.annotation, "__args__", ())
