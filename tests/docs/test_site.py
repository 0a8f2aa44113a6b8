"""The site is built, without a warning; no link in it leads nowhere, and nothing is fetched from elsewhere."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from .pages import ROOT

pytest.importorskip("sphinx")
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src")}
"""What a browser fetches by itself."""


@dataclass
class Page(HTMLParser):
    """What can be pointed to in a file, and where it points."""

    anchors: set[str] = field(default_factory=set)
    links: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.links.append((tag, name, value))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without outputs of the tutorials, which have a test of their own."""
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "generator", "--no-outputs", "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT / "docs", capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {}
    for path in site.rglob("*.html"):
        found[path] = Page()
        found[path].feed(path.read_text())
    return found


def test_every_page_is_there(site: Path) -> None:
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    written -= {Path("contents.html")}
    made = {Path("reference") / f"{name}.html" for name in ("commands", "config_train", "config_loop", "config_sweep")}
    for name in written | made | {Path("index.html"), Path("conventions.html"), Path("changelog.html")}:
        assert (site / name).exists(), name


def test_no_link_is_dead(site: Path, pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        for _, _, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert sum(len(page.links) for page in pages.values()) > 500 and not dead, "\n".join(sorted(set(dead)))


def test_nothing_comes_from_elsewhere(pages: dict[Path, Page]) -> None:
    fetched = {link for page in pages.values() for tag, name, link in page.links if (tag, name) in LOADED}
    assert len(fetched) > 3
    assert not [link for link in fetched if urlsplit(link).netloc]


def test_equations_are_drawn_without_a_script(site: Path) -> None:
    text = (site / "conventions.html").read_text()
    assert text.count("<math") > 10 and "mathjax" not in text.lower()
