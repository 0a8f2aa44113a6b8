"""`mollifield info`: what a model file is, and whether it reproduces its reference frames."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, help="exported model file")


def run(options: argparse.Namespace) -> None:
    """Load, verify, describe."""
    from mollifield.verification import describe, load_artefact

    print(describe(load_artefact(options.model)))
