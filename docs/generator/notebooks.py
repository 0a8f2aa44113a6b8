"""Tutorials: a script in the percent format each, which is the source; the notebook is made from it."""

from __future__ import annotations

import jupytext

DOWNLOAD = """
Download: {download}`notebook <{stem}.ipynb>`, {download}`script <{name}>`.
"""


def notebook(script: str, name: str) -> str:
    """The notebook of a script, without outputs, as JSON. The same script gives the same text."""
    made = jupytext.reads(script, fmt="py:percent")
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    text: str = jupytext.writes(made, fmt="ipynb")
    return text
