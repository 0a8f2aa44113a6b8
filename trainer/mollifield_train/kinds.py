"""Kinds by name, of a table or of somebody else's module."""

import importlib
from typing import Any, TypeVar

Line = TypeVar("Line")


class Kinds(dict[str, Line]):
    """A table of kinds in which an import path is a name too: `table["my_module.MINE"]` imports `MINE`.

    What is imported is no part of the table: it isn't listed, and `in` says no. A path has a dot; raises ValueError for
    one of nothing, or of something that is no line of this table. Only for what a person wrote, never for what a model
    file says: an import runs code.
    """

    def __init__(self, lines: dict[str, Line], of: type[Line]) -> None:
        super().__init__(lines)
        self.of = of

    def __missing__(self, name: str) -> Line:
        if "." not in name:
            raise KeyError(name)
        found = imported(name)
        if not isinstance(found, self.of):
            raise ValueError(
                f"'{name}' is a {type(found).__name__}; allowed is a {self.of.__module__}.{self.of.__name__}"
            )
        return found


def imported(path: str) -> Any:
    """What an import path such as `my_module.MINE` names; raises ValueError where there is no such thing."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"cannot import {path!r}: {error} (the module has to be installed, or in a folder of PYTHONPATH)"
        ) from error
