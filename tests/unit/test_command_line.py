"""What `mollifield` says of itself: help, examples, and what a shell completes."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mollifield.properties import PROPERTIES
from mollifield_train import calibrate, uncertainty
from mollifield_train.calibrate.fitting import FLOORS
from mollifield_train.cli import command_line, main
from mollifield_train.commands import COMMANDS
from mollifield_train.commands.completion import SHELLS
from mollifield_train.commands.init import BEGINNINGS
from mollifield_train.uncertainty import noise

HEAVY = ("ase", "lightning", "numpy", "pydantic", "torch", "yaml")


def parser_of(name: str) -> argparse.ArgumentParser:
    (commands,) = (action for action in command_line()._actions if isinstance(action, argparse._SubParsersAction))
    found: argparse.ArgumentParser = commands.choices[name]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name: str) -> None:
    """Every argument is explained, and every example is a command line that is understood."""
    parser = parser_of(name)
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), f"{name}: {action.dest}"
    assert COMMANDS[name].examples
    for example in COMMANDS[name].examples:
        assert example in parser.format_help()
        program, *words = shlex.split(example.split(" > ")[0])
        assert program == "mollifield" and words[0] == name
        assert command_line().parse_args(words).command == name


@pytest.mark.parametrize(
    "command, argument, names",
    [
        ("property", "name", PROPERTIES),
        ("calibrate", "map", calibrate.MAPS),
        ("calibrate", "floor", FLOORS),
        ("posterior", "kind", uncertainty.KINDS),
        ("noise", "kind", noise.KINDS),
        ("init", "what", BEGINNINGS),
        ("completion", "shell", SHELLS),
    ],
)
def test_help_names_all_kinds(command: str, argument: str, names: dict[str, object]) -> None:
    (text,) = (action.help for action in parser_of(command)._actions if action.dest == argument)
    assert all(name in str(text) for name in names), text


def test_help_is_quick() -> None:
    """Nothing that takes long is imported before a command runs."""
    code = f"""
import sys
from mollifield_train.cli import command_line
command_line().format_help()
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("mollifield 0.2.0 (torch ")


@pytest.mark.parametrize(
    "typed, offered",
    [
        ("cali", ["calibrate"]),
        ("calibrate --ma", ["--map"]),
        ("evaluate --stress-sign ", ["tension", "compression"]),
        ("train tr", ["train.yaml"]),
    ],
)
def test_bash_completes(typed: str, offered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "train.yaml").touch()
    words = ["mollifield", *typed.split(" ")]
    ask = f"""
. {script}
COMP_WORDS=({" ".join(word or "''" for word in words)}); COMP_CWORD={len(words) - 1}
$(complete -p mollifield | sed 's/.*-F \\([^ ]*\\).*/\\1/') mollifield
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert set(offered) <= set(done.stdout.split()), done.stdout + done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "lammps-check" in capsys.readouterr().out
