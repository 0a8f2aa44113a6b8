"""`mollifield upgrade`: a model file of an earlier release, in the format of this one."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file that an earlier release wrote")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="model file to write; default: the same name, and the old file is kept as MODEL.old",
    )


def run(options: argparse.Namespace) -> None:
    """Write, verify, and put the old file aside."""
    from mollifield.upgrade import upgrade

    written = options.model.with_name(options.model.name + ".new") if options.output is None else options.output
    found = upgrade(options.model, written)
    print(f"{len(found.reference_frames)} reference frames reproduced")
    if options.output is None:
        old = options.model.with_name(options.model.name + ".old")
        options.model.replace(old)
        written.replace(options.model)
        print(f"kept: {old}")
    print(f"written: {options.output or options.model}, format version {found.format_version}")
