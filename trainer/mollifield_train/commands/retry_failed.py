"""`mollifield retry-failed`: give frames that the oracle could not label another chance."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="directory of a loop's run")
    parser.add_argument("--reason", metavar="TEXT", default="", help="only those whose reason has this text in it")


def run(options: argparse.Namespace) -> None:
    """Mark them as chosen; the loop labels them when it goes on."""
    from ..active.status import open_run
    from ..active.store import Store

    _, paths = open_run(options.directory)
    n = Store(paths.store).retry_failed(options.reason)
    print(f"{options.directory}: {n} frame(s) will be labelled when the loop next labels frames of their arm")
