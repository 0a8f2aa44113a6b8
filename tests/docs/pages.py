"""All pages that people read, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONVENTIONS.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    page: Path
    line: int
    language: str
    name: str
    """Of the file that it is, if it says so after the language; else empty."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> Iterator[Block]:
    """Of all pages, those in one of these languages ("" for none)."""
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            language, name = [*found[3].split(), "", ""][:2]
            if language in languages:
                yield Block(page, text[: found.start()].count("\n") + 1, language, name, found[4])


def spans() -> Iterator[tuple[Path, str]]:
    """Code within the text of all pages."""
    for page in PAGES:
        for found in re.finditer(r"`([^`]+)`", FENCE.sub("", page.read_text())):
            yield page, " ".join(found[1].split())
