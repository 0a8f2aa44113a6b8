"""`mollifield status`: how far a loop is."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "directory", type=Path, metavar="DIRECTORY", help="directory of a loop's run, which may be running"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> None:
    """Read and print."""
    from ..active.status import lines, status_of

    status = status_of(options.directory)
    print(json.dumps(status, indent=1) if options.json else "\n".join(lines(status)))
