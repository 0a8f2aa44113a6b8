"""`mollifield train`: fit a committee and export it."""

import argparse
from pathlib import Path

from ..interruption import naming_what_is_kept
from .errors_table import print_errors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="YAML file; `mollifield schema train --markdown` has all its keys"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, exactly")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="take another value for a key of the file, such as optimiser.epochs=10; may be repeated",
    )
    parser.add_argument(
        "--initial",
        type=Path,
        metavar="PATH",
        help="begin with these weights: directory of a run, its model.pt, members.pt or a checkpoint; in place of "
        "the key `initial`",
    )


def run(options: argparse.Namespace) -> None:
    """Train, export, print the errors."""
    from ..config import load_train_config

    config = load_train_config(options.config, options.set)
    from ..training.distributed import follow, place_of
    from ..training.run import train, what_is_kept
    from ..training.run_directory import MODEL_FILE

    place = place_of(config)
    if place is not None and place.rank > 0:
        follow(config, place)
        return
    with naming_what_is_kept(lambda: what_is_kept(config)):
        result = train(config, resume=options.resume, initial=options.initial)
    for part in ("train", "valid"):
        if part in result.metrics:
            print(f"{part}: {result.metrics[f'n_{part}']} frames")
            print_errors(result.metrics[part])
    print(f"written: {result.directory / MODEL_FILE}")
