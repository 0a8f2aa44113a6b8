"""Every message that the page quotes is still one that the sources have."""

import re
from pathlib import Path

import pytest

from .pages import HOWTO

ROOT = HOWTO.parents[1]
SOURCES = [
    *(path for folder in ("plugin", "trainer", "lammps_interface") for path in sorted((ROOT / folder).rglob("*.py"))),
    *(path for folder in ("plugin", "lammps_interface") for path in sorted((ROOT / folder / "cpp").rglob("*.[ch]*"))),
]
ROW = re.compile(r"^\| (`.*?) \| .* \| .* \|$", re.MULTILINE)
OF_OTHERS = re.compile(r"\(of (LAMMPS|torch)")


def joined(source: str) -> str:
    """Without the seams of literals that are written in pieces, and with one sign for all that is filled in."""
    whole = re.sub(r"\"\s*\+?\s*[fr]?\"", "", source)
    return " ".join(whole.replace('\\"', '"').split())


TEXT = "\n".join(joined(path.read_text()) for path in SOURCES)


def quoted() -> list[str]:
    """What stands between backticks in first columns, but for messages of other programs."""
    rows = [row for row in ROW.findall((HOWTO / "troubleshooting.md").read_text()) if not OF_OTHERS.search(row)]
    return [message for row in rows for message in re.findall(r"`(.*?)`", row)]


@pytest.mark.parametrize("message", sorted(set(quoted())))
def test_message_is_in_the_sources(message: str) -> None:
    pieces = [piece.strip() for piece in message.split("...")]
    found = [piece for piece in pieces if len(piece) > 2]
    assert found, "nothing but dots"
    missing = [piece for piece in found if " ".join(piece.split()) not in TEXT]
    assert not missing


def test_rows_are_found() -> None:
    assert len(quoted()) > 50 and len(SOURCES) > 200


def test_a_message_that_nobody_writes_is_missed() -> None:
    assert "the moon is full" not in TEXT and "needs newton pair on" in TEXT
    assert Path(HOWTO / "troubleshooting.md").exists()
