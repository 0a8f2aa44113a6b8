"""`mollifield resume`: go on with a loop that was paused, stopped or killed, with the config that it has."""

import argparse
from pathlib import Path

from ..interruption import naming_what_is_kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="directory of a loop's run")


def run(options: argparse.Namespace) -> None:
    """Take the word back, and run."""
    from ..active.loop import default_parts, run_loop, what_directory_keeps
    from ..active.status import open_run

    config, paths = open_run(options.directory)
    paths.pause.unlink(missing_ok=True)
    with naming_what_is_kept(lambda: what_directory_keeps(options.directory, fresh=False)):
        run_loop(config, False, default_parts)
