"""Commands, configs, paths and Python of all pages: read by what they are meant for."""

import argparse
import re
import shlex
from typing import Any

import pytest
import yaml

from mollifield_train.cli import command_line
from mollifield_train.config_reference import configs
from mollifield_train.section import validated

from .pages import ROOT, Block, blocks, spans

SHELL = ("", "sh", "console", "bash")
REST: dict[str, dict[str, Any]] = {
    "train": {"data": {"train": "frames.xyz"}},
    "loop": {"directory": "runs/a", "frames": "frames.xyz"},
    "sweep": {"directory": "runs/a", "training": {"data": {"train": "frames.xyz"}}, "search": {"model.l_max": [1, 2]}},
}
"""What a part of a config must stand beside."""


def command_lines(text: str) -> list[str]:
    """Lines of a block that call the program, without comments and what it is piped into."""
    joined = text.replace("\\\n", " ")
    stripped = (re.sub(r"\s#.*", "", line).removeprefix("$ ").strip() for line in joined.splitlines())
    return [line for line in stripped if re.match(r"(\S*/)?mollifield ", line)]


COMMANDS = [(block, line) for block in blocks(*SHELL) for line in command_lines(block.text)]
OF_OTHERS = ("nequip.yaml",)
"""Configs of other programs, which stand beside ours."""
CONFIGS = [
    (block, part)
    for block in blocks("yaml")
    if block.name not in OF_OTHERS
    for part in re.split(r"\n\n(?=\S)", block.text)
    if yaml.safe_load(part)
]


def test_the_pages_have_commands_and_configs() -> None:
    assert len(COMMANDS) > 20 and len(CONFIGS) > 8


@pytest.mark.parametrize(
    ("block", "line"), COMMANDS, ids=lambda value: value[:50] if isinstance(value, str) else str(value)
)
def test_a_command_is_one(block: Block, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(re.split(r" [|>&]", line)[0])
    try:
        command_line().parse_args(words[1:])
    except SystemExit as end:
        assert end.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", sorted({span for _, span in spans() if re.match(r"mollifield [a-z]", span)}))
def test_a_command_in_a_sentence_is_one(line: str) -> None:
    """Arguments may be missing there: its name and options are looked at."""
    parsers = _subcommands(command_line())
    name, *words = line.split()[1:]
    assert name in parsers
    known = {option for action in parsers[name]._actions for option in action.option_strings}
    for word in words:
        inner = _subcommands(parsers[name]).get(word)
        known |= {option for action in inner._actions for option in action.option_strings} if inner else set()
    assert {word.strip("[]") for word in words if re.match(r"\[?-", word)} <= known


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


@pytest.mark.parametrize(("block", "part"), CONFIGS, ids=lambda value: "part" if isinstance(value, str) else str(value))
def test_a_config_is_read(block: Block, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one of the commands, beside what the others have to say; kinds of the examples are found."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "howto" / "examples")
    values, complaints = yaml.safe_load(part), []
    if isinstance(values.get("training"), str):  # a file, which `mollifield sweep` would read
        values["training"] = REST["train"]
    for name, config in configs().items():
        rest = {key: value for key, value in REST.get(name, {}).items() if key != "frames" or "systems" not in values}
        try:
            validated(config, rest | values, str(block))
            return
        except ValueError as error:
            complaints.append(f"{name}: {error}")
    pytest.fail("\n".join(complaints))


@pytest.mark.parametrize("block", list(blocks("python")), ids=str)
def test_python_is_python(block: Block) -> None:
    compile(block.text, str(block), "exec")


def keywords(page: str) -> set[str]:
    """Of the table in the syntax of a style's page."""
    syntax = (ROOT / "docs" / page).read_text().split("## Examples")[0]
    found = {words.split()[0] for words in re.findall(r"^\| `([^`]+)`", syntax, re.MULTILINE)}
    return found | ({"ramp"} if "bias" in found else set())


LINES = [
    (block, line.split("#")[0].split())
    for block in blocks("lammps", "")
    for line in re.sub(r"&\s*\n", " ", block.text).splitlines()
]


def test_keywords_of_the_styles_are_those_of_their_pages() -> None:
    of_pair, of_fix = keywords("pair_style_mollifield.md"), keywords("fix_mollifield_uncertainty.md")
    assert len(of_pair) == 4 and len(of_fix) == 14
    found = []
    for block, words in LINES:
        if words[:1] == ["fix"] and "mollifield/uncertainty" in words and words[1] != "ID":
            found.append((block, of_fix, words[words.index("mollifield/uncertainty") + 2 :]))
        if words[:2] == ["pair_style", "mollifield"] and words[2:] != ["keyword", "value", "..."]:
            found.append((block, of_pair, words[2:]))
    assert len(found) > 15
    for block, known, rest in found:
        while rest:
            assert rest[0] in known, f"{block}: {rest[0]}"
            n_values = 2 if rest[:2] == ["driver", "member"] else 1
            rest = rest[1 + n_values :]


def test_files_of_the_project_are_there() -> None:
    top = "plugin|trainer|lammps_interface|docs|examples|tests|benchmarks"
    named = {(page, span) for page, span in spans() if re.fullmatch(rf"({top})/[\w./-]+", span)}
    missing = [f"{page.relative_to(ROOT)}: {span}" for page, span in sorted(named) if not _is_there(span)]
    assert len(named) > 20 and not missing, missing


def _is_there(name: str) -> bool:
    path = ROOT / name
    return path.exists() or (path.suffix == "" and bool(list(path.parent.glob(f"{path.name}.*"))))


def test_targets_of_make_are_there() -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {name for _, span in spans() for name in re.findall(r"^make ([a-z]+)", span)}
    asked |= {name for block in blocks(*SHELL) for name in re.findall(r"^make ([a-z]+)", block.text, re.MULTILINE)}
    assert {"demo", "test", "docs"} <= asked <= known
