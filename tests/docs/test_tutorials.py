"""Every tutorial runs from its first line to its last, with all that it asserts; its notebook has the same cells."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT

SCRIPTS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
TIMEOUT = 900  # seconds; a tutorial takes half a minute of a core that it has for itself


def test_they_are_numbered() -> None:
    assert [path.name[:2] for path in SCRIPTS] == [f"{number}_" for number in range(1, len(SCRIPTS) + 1)]
    assert len(SCRIPTS) == 7


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_runs(script: Path, tmp_path: Path) -> None:
    assert len(re.findall(r"^ *assert ", script.read_text(), re.MULTILINE)) > 2, "it claims nothing"
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore:FigureCanvasAgg", str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_has_the_code_of_the_script(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jupytext")
    monkeypatch.syspath_prepend(ROOT / "docs")
    import nbformat
    from generator.notebooks import notebook

    made = nbformat.reads(notebook(script.read_text()), as_version=4)
    nbformat.validate(made)
    code = "\n".join(cell.source for cell in made.cells if cell.cell_type == "code")
    text = re.sub(r"^# %%( \[markdown\]\n(#.*\n)*)?", "", script.read_text(), flags=re.MULTILINE)
    assert "".join(code.split()) == "".join(text.split())
    assert not any(cell.get("outputs") for cell in made.cells)
