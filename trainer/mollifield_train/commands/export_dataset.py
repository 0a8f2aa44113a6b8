"""`mollifield export-dataset`: what a loop has had labelled, as an extxyz file."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="directory of a loop's run")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="extxyz file with REF_energy, REF_forces, ..."
    )
    parser.add_argument("--arm", help="what this arm was trained on; default: all arms, each geometry once")
    parser.add_argument("--test", action="store_true", help="the test set instead")


def run(options: argparse.Namespace) -> None:
    """Read the store, write the file."""
    from ..active.dataset import export_dataset

    n = export_dataset(options.directory, options.output, options.arm, options.test)
    print(f"{n} labelled frames written to {options.output}")
