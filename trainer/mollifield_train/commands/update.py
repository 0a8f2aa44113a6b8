"""`mollifield update`: take further frames into a posterior, without a training."""

import argparse
from pathlib import Path

from .labelled_frames import add_files, reading_of
from .posterior import print_made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="model file that `mollifield posterior` or this command wrote"
    )
    add_files(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the updated model file to write"
    )


def run(options: argparse.Namespace) -> None:
    """Update, draw again, export."""
    from ..uncertainty.posterior_file import update_posterior

    print_made(update_posterior(options.model, options.frames, options.output, reading_of(options)))
    print(f"written: {options.output}")
