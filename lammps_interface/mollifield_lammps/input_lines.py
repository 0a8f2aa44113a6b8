"""Which line of which input file LAMMPS was at, from the commands that it echoes.

LAMMPS's messages quote the command, not its place. Echoed lines are followed through the input: each is expected to
be the next one, the first of a file that was just included, or, after a `jump` or at the end of an included file, the
next one somewhere else. What else LAMMPS prints is passed over.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InputLine:
    """A command of an input file, continuation lines joined. `number` counts from 1."""

    file: Path
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.number}: {self.text}"


def read_commands(path: Path) -> list[InputLine]:
    """The commands of one file; empty lines and lines of comment alone are left out."""
    commands: list[InputLine] = []
    pending, first = "", 0
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        first = first if pending else number
        if line.rstrip().endswith("&"):
            pending += line.rstrip()[:-1] + " "
            continue
        text = _normal(pending + line)
        pending = ""
        if text and not text.startswith("#"):
            commands.append(InputLine(path, first, text))
    return commands


def _normal(text: str) -> str:
    return " ".join(text.split())


def command_of(text: str) -> list[str]:
    """Words of an input line without its comment."""
    return text.split("#")[0].split()


class InputPosition:
    """Follows echoed lines through an input file and the files that it includes."""

    def __init__(self, path: Path, directory: Path) -> None:
        self._directory = directory
        self._files = {path: read_commands(path)}
        self._returns: list[tuple[Path, int]] = []  # where to go on after an included file
        self._path, self._next = path, 0
        self._jump: tuple[Path, int] | None = None  # where the command before jumps to, unless it is skipped
        self.current: InputLine | None = None

    def feed(self, line: str) -> None:
        """Take one line of LAMMPS's output."""
        text = _normal(line)
        if not text:
            return
        if not self._is_next(text) and self._jump is not None and self._is(text, *self._jump):
            self._path, self._next = self._jump
        while not self._is_next(text) and self._next >= len(self._files[self._path]) and self._returns:
            self._path, self._next = self._returns.pop()
        if self._is_next(text):
            self._advance()

    def locate(self, quoted: str) -> InputLine | None:
        """Where the command is that LAMMPS quotes: where it was last, else the one place with that text."""
        text = _normal(quoted)
        if self.current is not None and text in self.current.text:
            return self.current
        found = [c for commands in self._files.values() for c in commands if text == " ".join(command_of(c.text))]
        return found[0] if len(found) == 1 else None

    def _is_next(self, text: str) -> bool:
        return self._is(text, self._path, self._next)

    def _is(self, text: str, path: Path, position: int) -> bool:
        commands = self._files[path]
        return position < len(commands) and commands[position].text == text

    def _advance(self) -> None:
        self.current = self._files[self._path][self._next]
        self._next += 1
        words = command_of(self.current.text)
        self._jump = None
        if words[0] not in ("include", "jump") or len(words) < 2:
            return
        path = self._path if words[1] == "SELF" else self._directory / words[1]
        if not path.is_file():
            return
        if path not in self._files:
            self._files[path] = read_commands(path)
        if words[0] == "jump":
            self._jump = path, self._after_label(path, words[2:3])
        else:
            self._returns.append((self._path, self._next))
            self._path, self._next = path, 0

    def _after_label(self, path: Path, label: list[str]) -> int:
        """LAMMPS does not echo what it skips, nor the label itself."""
        labels = (k for k, c in enumerate(self._files[path], 1) if command_of(c.text) == ["label", *label])
        return next(labels, 0)
