"""`mollifield pause`: have a loop end before its next step."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="directory of a loop's run")


def run(options: argparse.Namespace) -> None:
    """Leave word."""
    from ..active.status import is_running, open_run

    _, paths = open_run(options.directory)
    paths.pause.touch()
    when = "ends before its next step" if is_running(paths) else "is not running, and will not run"
    print(f"{options.directory}: {when}; `mollifield resume {options.directory}` goes on")
