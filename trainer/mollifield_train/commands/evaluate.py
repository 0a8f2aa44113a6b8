"""`mollifield evaluate`: errors of a model file on labelled frames."""

import argparse
from pathlib import Path

from .errors_table import print_errors
from .labelled_frames import add_frames, reading_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, help="exported model file")
    add_frames(parser)
    parser.add_argument("--parity", type=Path, metavar="parity.png", help="also draw a parity plot")


def run(options: argparse.Namespace) -> None:
    """Predict, print the errors, draw."""
    from ..evaluate import evaluate_file, parity_plot
    from ..metrics import error_summary

    frames = evaluate_file(options.model, options.frames, options.device, reading_of(options))
    print(f"{options.frames}: {len(frames)} frames, {len(frames[0].energies)} members")
    print_errors(error_summary(frames))
    if options.parity is not None:
        parity_plot(frames, options.parity)
        print(f"written: {options.parity}")
