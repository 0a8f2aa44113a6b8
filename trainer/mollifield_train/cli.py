"""The command `mollifield`: which subcommand, and how it ends."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from . import __version__
from .commands import COMMANDS
from .interruption import Interrupted, interruptible

USER_ERROR = 2


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


def command_line() -> argparse.ArgumentParser:
    """All that may be typed."""
    parser = argparse.ArgumentParser(
        prog="mollifield", description="Machine-learned interatomic potentials that know what they do not know."
    )
    parser.add_argument("--version", action="version", version=f"mollifield {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command", dest="command")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.text, description=command.text))
    return parser


if __name__ == "__main__":
    sys.exit(main())
