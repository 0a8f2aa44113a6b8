"""`mollifield info`: what a model file is, and whether it reproduces its reference frames; what it may run on here."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, nargs="?", help="exported model file; without one: this machine's devices")


def run(options: argparse.Namespace) -> None:
    """Load, verify, describe."""
    from mollifield.devices import describe_devices
    from mollifield.verification import describe, load_artefact

    print(describe_devices() if options.model is None else describe(load_artefact(options.model)))
