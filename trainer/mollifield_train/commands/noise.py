"""`mollifield noise`: a trained model that states the noise of its labels, atom by atom."""

import argparse
from pathlib import Path

from .labelled_frames import add_files, reading_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="model file of a training, or with samples of a posterior"
    )
    add_files(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="file to write: the same model, with the noise"
    )
    parser.add_argument(
        "--kind", default="head", help="head (default): atom by atom; homoscedastic: one number a species"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of a head's initial weights and held-back frames; default: 0"
    )


def run(options: argparse.Namespace) -> None:
    """Fit to the residuals, export."""
    from ..uncertainty.noise.noise_file import make_noise

    made = make_noise(options.model, options.frames, options.output, options.kind, options.seed, reading_of(options))
    if made.n_trained:
        print(
            f"warning: the model was trained on {made.n_trained} of the {made.n_given} frames, whose residuals are too "
            "small: give frames that it has not seen"
        )
    of = f" of {made.n_given}" if made.n_given > made.n_frames else ""
    forces = ", ".join(
        f"{symbol} {1e3 * std:.4g}" for symbol, std in zip(made.species, made.fitted.noise.forces.tolist(), strict=True)
    )
    print(f"{made.n_frames}{of} frames; {1e3 * made.fitted.noise.energy:.4g} meV/atom, {forces} meV/Å (mean squares)")
    print(f"written: {options.output}")
