"""Tutorials: a script in the percent format each, which is the source; the notebook is made from it."""

from __future__ import annotations

import jupytext
import nbformat

DOWNLOAD = """\
This page as a file: {{download}}`notebook <download/{stem}.ipynb>`, {{download}}`script <{stem}.py>`.
"""
"""Above the first line of a tutorial's page."""


def notebook(script: str, above: str = "") -> str:
    """The notebook of a script, without outputs, as JSON; `above`: Markdown after its title.

    The same script gives the same text.
    """
    made = jupytext.reads(script, fmt="py:percent")
    if above:
        title, _, rest = made.cells[0].source.partition("\n")
        made.cells[0].source = f"{title}\n\n{above}{rest}"
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    text: str = nbformat.writes(made, version=4)
    return text + "\n"
