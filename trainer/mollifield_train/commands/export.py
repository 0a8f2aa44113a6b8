"""`mollifield export`: the best weights of a run, finished or not, into one model file."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="directory of a training, finished or not")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("model.pt"),
        metavar="FILE",
        help="model file to write; default: model.pt",
    )


def run(options: argparse.Namespace) -> None:
    """Export."""
    from ..training.run import export_run

    export_run(options.directory, options.output)
    print(f"written: {options.output}")
