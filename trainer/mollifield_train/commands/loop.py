"""`mollifield loop`: active learning, continued where it stopped."""

import argparse
from pathlib import Path

from ..interruption import naming_what_is_kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="YAML file; `mollifield schema loop --markdown` has all its keys"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="delete the run in the directory that the config names, labels too, and start again",
    )


def run(options: argparse.Namespace) -> None:
    """Start a loop, or continue it."""
    from ..active.loop import run as run_loop
    from ..active.loop import what_is_kept

    with naming_what_is_kept(lambda: what_is_kept(options.config, options.fresh)):
        run_loop(options.config, fresh=options.fresh)
