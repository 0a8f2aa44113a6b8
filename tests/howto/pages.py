"""What the pages of docs/howto have to be pasted."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from mollifield_train.cli import main

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
EXAMPLES = HOWTO / "examples"
FENCE = "```"


def blocks_of(page: str) -> Iterator[tuple[str, str]]:
    """What follows the opening fence, and the text."""
    lines: list[str] | None = None
    title = ""
    for line in (HOWTO / page).read_text().splitlines(keepends=True):
        if not line.startswith(FENCE):
            if lines is not None:
                lines.append(line)
        elif lines is None:
            title, lines = line[len(FENCE) :].strip(), []
        else:
            yield title, "".join(lines)
            lines = None


def files_of(page: str) -> dict[str, str]:
    """Blocks that name a file after their language: their text by that."""
    titles = ((title.split(), text) for title, text in blocks_of(page))
    return {words[1]: text for words, text in titles if len(words) == 2}


def commands_of(page: str) -> list[list[str]]:
    """The words of each `mollifield` line of the page's blocks without a language, in their order."""
    lines = [line for title, text in blocks_of(page) if not title for line in text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("mollifield ")]


def paste(page: str, folder: Path) -> None:
    """The page's files into `folder`, but for those that the repository has."""
    for name, text in files_of(page).items():
        if not (EXAMPLES / name).exists():
            (folder / name).write_text(text)


def run(words: list[str]) -> None:
    """A command line of the page, in this process and the working directory."""
    assert main(words) == 0, " ".join(words)
