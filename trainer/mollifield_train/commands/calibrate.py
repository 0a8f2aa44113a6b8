"""`mollifield calibrate`: a model file whose stds fit the errors on labelled frames."""

import argparse
from pathlib import Path

from .labelled_frames import add_frames, reading_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file of a committee, or of samples")
    add_frames(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the calibrated model file to write"
    )
    parser.add_argument(
        "--map", default="factor", help="from raw stds to calibrated ones: factor (default) or isotonic"
    )
    parser.add_argument(
        "--floor",
        default="forces",
        help="whose stds grow with the distance to the training data as well: forces (default), all or none",
    )


def run(options: argparse.Namespace) -> None:
    """Fit, write, print and draw how well it fits frames that it was not fitted to."""
    from ..calibrate.fitting import LEVEL, N_TRUSTED, calibrate_file
    from ..calibrate.picture import draw

    found = calibrate_file(
        options.model,
        options.frames,
        options.output,
        options.map,
        options.device,
        reading_of(options),
        floor=options.floor,
    )
    if found.n_frames < N_TRUSTED:
        print(f"warning: {found.n_frames} frames; with fewer than {N_TRUSTED} a calibration may follow single ones")
    print("judged on half of the frames, fitted to the other, both ways (uncalibrated -> calibrated):")
    for name, score in found.scores.items():
        unit = "eV/Å" if name == "forces" else "eV/atom"
        print(f"  {name}, {len(score.stds)} values")
        for key, (text, ideal) in NUMBERS.items():
            text = text.format(unit=unit)
            print(f"    {text:<52}{score.before[key]:>10.3g} ->{score.after[key]:>9.3g}{ideal:>12}")
        if score.within_interval is not None:
            print(f"    {f'errors within the {100 * LEVEL:g}% interval':<52}{100 * score.within_interval:>22.1f}%")
    if "energy" not in found.scores:
        print("energy: too few frames to calibrate with; left as it was")
    picture = options.output.with_suffix(".png")
    draw(found, picture)
    print(f"written: {options.output}, {picture}")


NUMBERS = {
    "z_std": ("std of error / std", "1"),
    "z_kurtosis": ("excess kurtosis of error / std", "0 if normal"),
    "z_beyond_3": ("part beyond 3 stds", "0.0027"),
    "nll": ("negative log likelihood ({unit})", ""),
    "crps": ("CRPS ({unit})", ""),
    "miscalibration_area": ("miscalibration area", "0"),
    "spearman": ("rank correlation of size of error and std", "1"),
    "sparsification": ("sparsification error", "0"),
}
"""Of `calibrate.quality`: what they are called, and what they should be."""
