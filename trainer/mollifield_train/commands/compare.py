"""`mollifield compare`: two model files on the same labelled frames."""

import argparse
from pathlib import Path
from typing import Any

from .errors_table import LABELS
from .labelled_frames import add_frames, reading_of
from .tables import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("first", type=Path, metavar="A.PT", help="model file")
    parser.add_argument("second", type=Path, metavar="B.PT", help="another")
    add_frames(parser)
    parser.add_argument(
        "--by",
        metavar="KEY",
        help="compare groups too: by config_type, any other word in the files, file or composition",
    )
    parser.add_argument(
        "--block",
        type=int,
        default=1,
        metavar="N",
        help="successive frames that count as one in standard errors, for frames of a trajectory; default: 1",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers")


def run(options: argparse.Namespace) -> None:
    """Evaluate both, print the differences."""
    from ..durable import write_json
    from ..evaluate import bound_frames, evaluate_frames
    from ..evaluation.paired import compare

    if options.block < 1:
        raise ValueError(f"--block {options.block}: must be at least 1")
    frames = bound_frames(options.frames, reading_of(options))
    first, second = (evaluate_frames(model, frames, options.device) for model in (options.first, options.second))
    found = compare(first, second, options.by, options.block)
    print(f"a: {options.first}\nb: {options.second}\n{', '.join(options.frames)}: {found['n_frames']} frames")
    groups = {"all": found["errors"]} | found.get("groups", {})
    print_table(HEAD, [row for name, group in groups.items() for row in _rows(name, group)])
    if options.json is not None:
        write_json(options.json, found)
        print(f"written: {options.json}")


HEAD = ["frames", "of", "measure", "unit", "a", "b", "b - a", "standard error", ""]


def _rows(name: str, table: dict[str, Any]) -> list[list[object]]:
    from ..evaluation.paired import better

    return [
        [
            name,
            quantity,
            measure.replace("_", " "),
            LABELS[quantity],
            row["a"],
            row["b"],
            row["difference"],
            row["standard_error"],
            f"{winner} is better" if (winner := better(row)) else "no difference seen",
        ]
        for quantity, measures in table.items()
        for measure, row in measures.items()
    ]
