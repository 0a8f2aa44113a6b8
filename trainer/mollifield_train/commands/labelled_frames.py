"""Arguments of commands that read labelled frames."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.keys import LabelKeys

LABELS = ("energy", "forces", "stress")


def add_frames(parser: argparse.ArgumentParser) -> None:
    """The file, where to evaluate it, and the keys of its labels."""
    parser.add_argument("frames", type=Path, help="extended-xyz file with energies and forces")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or auto")
    for label in LABELS:
        parser.add_argument(f"--{label}-key", default="auto", help=f"key of the {label} in the file")


def keys_of(options: argparse.Namespace) -> "LabelKeys":
    """The keys that were asked for."""
    from ..data.keys import LabelKeys

    return LabelKeys(*(getattr(options, f"{label}_key") for label in LABELS))
