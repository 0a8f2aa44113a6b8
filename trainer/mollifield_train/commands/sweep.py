"""`mollifield sweep`: many trainings over ranges of keys, continued where it stopped."""

import argparse
from pathlib import Path

from ..interruption import naming_what_is_kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="YAML file; `mollifield schema sweep --markdown` has all its keys"
    )
    parser.add_argument(
        "--table", action="store_true", help="print the table of the trainings so far, and train nothing"
    )


def run(options: argparse.Namespace) -> None:
    """Start a sweep, or continue it; print its table."""
    from ..sweep.config import load_sweep_config

    config = load_sweep_config(options.config)
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError("a sweep needs the package 'optuna': pip install 'mollifield[sweep]'") from None
    from ..sweep.folder import SweepDirectory
    from ..sweep.run import run_sweep, table_so_far, what_is_kept
    from ..sweep.table import table

    if options.table:
        print(table_so_far(config))
        return
    with naming_what_is_kept(lambda: what_is_kept(config)):
        found = run_sweep(config)
    directory = SweepDirectory(config.directory)
    print(table(found))
    print(f"written: {directory.results_file}, {directory.picture}")
