"""Equations as MathML, which browsers draw themselves: a page needs no script, and nothing from the network."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def setup(app: Sphinx) -> dict[str, Any]:
    """For Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(_mathml(node))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(f'<div class="equation">{_mathml(node, "block")}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.Element, display: str = "inline") -> str:
    """Parentheses of a stated size become such that fit: a power of one would be drawn beside a small one."""
    text = re.sub(r"\\[bB]igg?([(\[])", r"\\left\1", node.astext())
    return convert(re.sub(r"\\[bB]igg?([)\]])", r"\\right\1", text), display=display)
