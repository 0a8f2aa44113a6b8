"""`mollifield status`: how far a loop is."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "directory", type=Path, metavar="DIRECTORY", help="directory of a loop's run, which may be running"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON, for programs")
    how.add_argument("--follow", action="store_true", help="bars on the terminal, until the run is over or ends")


def run(options: argparse.Namespace) -> None:
    """Read and print."""
    from ..active.live import follow
    from ..active.status import lines, status_of

    if options.follow:
        return follow(options.directory)
    status = status_of(options.directory)
    print(json.dumps(status, indent=1) if options.json else "\n".join(lines(status)))
