"""`mollifield calibrate`: a model file whose stds fit the errors on labelled frames."""

import argparse
from pathlib import Path

from .labelled_frames import add_frames, reading_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, help="exported model file of a committee")
    add_frames(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the calibrated model file")
    parser.add_argument(
        "--map", default="factor", help="kind of map (default: factor); a name that is none lists them all"
    )


def run(options: argparse.Namespace) -> None:
    """Fit, write, print how well it fits frames that it was not fitted to."""
    from ..calibrate.fitting import calibrate_file

    scores = calibrate_file(
        options.model, options.frames, options.output, options.map, options.device, reading_of(options)
    )
    print("judged on half of the frames, fitted to the other, both ways:")
    print("            values   rms of error/std: before    after   errors within 1 std")
    for name, found in scores.items():
        print(f"  {name:<8}{found.n:>8}{found.before:>27.2f}{found.after:>9.2f}{found.within:>22.2f}")
    if "energy" not in scores:
        print("energy: too few frames to calibrate with; left as it was")
    print(f"written: {options.output}")
