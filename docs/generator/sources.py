"""One folder that has all pages: those of `docs`, those of the root of the project, those that are made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from .notebooks import DOWNLOAD, notebook
from .reference import pages

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LEFT_OUT = ("generator", "__pycache__", "contents.md", "conf.py", "requirements.txt")
"""What of `docs` is no page."""
OF_THE_ROOT = {"CONVENTIONS.md": "conventions.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}


def assemble(folder: Path) -> None:
    """Fill `folder`; what is in it and is not meant to be is removed, what has not changed stays as it is."""
    wanted = dict(_copied()) | {Path("reference") / name: text.encode() for name, text in pages()}
    for script in sorted((DOCS / "tutorials").glob("*.py")):
        name, text = script.with_suffix(".ipynb").name, script.read_text()
        wanted[Path("tutorials") / name] = notebook(text, DOWNLOAD.format(stem=script.stem)).encode()
        wanted[Path("tutorials/download") / name] = notebook(text).encode()
    for name, page in OF_THE_ROOT.items():
        wanted[Path(page)] = _of_the_site((ROOT / name).read_text()).encode()
    wanted[Path("index.md")] += _contents(wanted).encode()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder) not in wanted:
            path.unlink()
    for name, content in wanted.items():
        _write(folder / name, content)


def _contents(wanted: Iterable[Path]) -> str:
    """The lists of pages beside each page, but for folders that are empty, of which Sphinx complains."""
    folders = {path.parent.name for path in wanted}
    blocks = (DOCS / "contents.md").read_text().split("\n\n```")
    return "\n\n```".join(
        block for block in blocks if not set(re.findall(r"^(\w+)/\*$", block, re.MULTILINE)) - folders
    )


def _copied() -> list[tuple[Path, bytes]]:
    found = []
    for path in sorted(DOCS.rglob("*")):
        name = path.relative_to(DOCS)
        if path.is_file() and not set(name.parts) & set(LEFT_OUT):
            content = path.read_bytes()
            found.append((name, _of_the_site(content.decode()).encode() if path.suffix == ".md" else content))
    return found


def _of_the_site(text: str) -> str:
    """With links that lead from page to page of the site, and names above files that are shown."""
    text = re.sub(r"^```lammps (\S+)$", r"```{code-block} lammps\n:caption: \1\n", text, flags=re.MULTILINE)
    text = re.sub(r"\]\((?:\.\./)*docs/", "](", text)
    text = re.sub(r"\]\(tutorials/(\w+)\.py\)", r"](tutorials/\1.ipynb)", text)
    text = re.sub(r"\]\((?:\.\./)*plugin/mollifield/contract\.py\)", "](reference/model_file.md)", text)
    for name, page in OF_THE_ROOT.items():
        text = re.sub(rf"\]\(((?:\.\./)*){re.escape(name)}", rf"](/{page}", text)
    return text


def _write(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
