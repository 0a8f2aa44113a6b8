"""The command `mollifield`: which subcommand, and how it ends."""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Sequence
from typing import Any

from .commands import COMMANDS
from .interruption import Interrupted, interruptible

USER_ERROR = 2

DESCRIPTION = "Machine-learned interatomic potentials that know what they do not know."
EPILOG = """\
to begin:
  mollifield init own-data        write train.yaml, to be edited
  mollifield train train.yaml     train, and write runs/mine/model.pt
  mollifield COMMAND --help       what a command does, with an example
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; its exit status.

    0 on success, 2 with one line on a mistake of the user's, 1 where a check failed, 130 and 143 after Ctrl-C and
    SIGTERM, with one line that says what is kept.
    """
    options = command_line().parse_args(arguments)
    try:
        with interruptible():
            return COMMANDS[options.command].run(options) or 0
    except BrokenPipeError:
        # The reader of our output has gone (`mollifield info ... | head`); Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Interrupted as interrupted:
        what = "interrupted" if interrupted.signum == signal.SIGINT else "terminated"
        print(f"mollifield: {what}{interrupted.kept and '; '}{interrupted.kept}", file=sys.stderr)
        return interrupted.exit_status
    except (ValueError, OSError) as error:
        print(f"mollifield: error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    return 0


class _Version(argparse.Action):
    """Imports torch, which takes a second, only when it is asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print it, and end."""
        import torch

        from mollifield import __version__

        print(f"mollifield {__version__} (torch {torch.__version__}, Python {platform.python_version()})")
        parser.exit()


class _Help(argparse.RawDescriptionHelpFormatter):
    """Examples as they are, and columns that hold the longest name of a command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)


def command_line() -> argparse.ArgumentParser:
    """Of the command line, subcommands included."""
    parser = argparse.ArgumentParser(prog="mollifield", description=DESCRIPTION, epilog=EPILOG, formatter_class=_Help)
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="print the versions of mollifield, torch and Python"
    )
    parser.set_defaults(parser=parser)  # for what describes the whole
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, command in COMMANDS.items():
        lines = "".join(f"  {line}\n" for line in command.examples)
        command.add_arguments(
            commands.add_parser(
                name,
                help=command.text,
                description=f"{command.text[0].upper()}{command.text[1:]}.",
                epilog=f"example{'s' * (len(command.examples) > 1)}:\n{lines}",
                formatter_class=_Help,
            )
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
