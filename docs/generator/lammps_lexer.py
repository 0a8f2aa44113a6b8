"""Colours for input scripts of LAMMPS."""

from __future__ import annotations

from typing import Any

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Comment, Keyword, Name, Number, String, Text, Whitespace
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """For Sphinx."""
    app.add_lexer("lammps", LammpsLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class LammpsLexer(RegexLexer):
    """A command and its arguments a line; `&` goes on in the next one."""

    name = "LAMMPS"
    tokens = {
        "root": [(r"\s+", Whitespace), (r"#.*?$", Comment), (r"[A-Za-z_]\w*", Keyword, "arguments"), (r".", Text)],
        "arguments": [
            (r"&[ \t]*\n", Whitespace),
            (r"\n", Whitespace, "#pop"),
            (r"[ \t]+", Whitespace),
            (r"#.*?$", Comment),
            (r'"[^"\n]*"|\'[^\'\n]*\'', String),
            (r"(\$)(\{\w+\}|\w|\([^)\n]*\))", bygroups(Text, Name.Variable)),
            (r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?(?=[\s&#]|$)", Number),
            (r"mollifield(/uncertainty)?\b", Name.Class),
            (r"[^\s&#\"'$]+", Text),
            (r".", Text),
        ],
    }
