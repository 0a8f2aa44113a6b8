"""`mollifield completion`: what a shell completes this program's command lines by."""

import argparse
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    import shtab

    _complete_files(options.parser, shtab.FILE)
    print(shtab.complete(options.parser, options.shell))


def _complete_files(parser: argparse.ArgumentParser, files: dict[str, Any]) -> None:
    """Tell which arguments are files, in all subcommands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command, files)
        elif action.type is Path or action.dest in ("frames", "structures"):
            action.complete = files  # type: ignore[attr-defined]
