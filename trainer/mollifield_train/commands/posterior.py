"""`mollifield posterior`: a trained model as samples of the posterior of its last layer."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .labelled_frames import add_files, reading_of

if TYPE_CHECKING:
    from ..uncertainty.posterior_file import Made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="model file of a training; one member is enough, and of several one is taken",
    )
    add_files(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the model file with samples to write"
    )
    parser.add_argument(
        "--kind",
        default="laplace",
        help="laplace (default), pops, which knows that the model is wrong, or the import path of your own",
    )
    parser.add_argument("--samples", type=int, default=16, metavar="S", help="how many, an even number; default: 16")
    parser.add_argument(
        "--member", type=int, default=0, metavar="K", help="which member of a committee, from 0; default: 0"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random draws; default: 0")
    parser.add_argument(
        "--noise-from",
        nargs="+",
        default=[],
        metavar="FILE",
        help="held-back frames whose errors tell the noise of labels; default: the frames themselves",
    )


def run(options: argparse.Namespace) -> None:
    """Make the posterior, draw, export."""
    from ..uncertainty.posterior_file import make_posterior

    made = make_posterior(
        options.model,
        options.frames,
        options.output,
        options.kind,
        options.samples,
        options.member,
        options.seed,
        options.noise_from,
        reading_of(options),
    )
    print_made(made)
    print(f"written: {options.output}")


def print_made(made: "Made") -> None:
    """What a person may want to know of it."""
    noise = made.posterior.noise
    of = f" of {made.n_given}" if made.n_given > made.n_frames else ""
    print(f"{made.n_frames}{of} frames, {len(made.posterior.mean)} weights in the last layer")
    print(f"noise: {1e3 * noise.energy:.4g} meV/atom, {1e3 * float(noise.forces.mean()):.4g} meV/Å (length of a force)")
