"""Arguments of commands that read labelled frames."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..data.units import SIGNS, StressUnit

if TYPE_CHECKING:
    from ..data.frames import Reading

KEYS = ("energy", "forces", "stress", "virial")


def add_frames(parser: argparse.ArgumentParser) -> None:
    """The files, where to evaluate them, and what their labels are called and mean."""
    add_files(parser)
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or auto")


def add_files(parser: argparse.ArgumentParser) -> None:
    """The files, and what their labels are called and mean."""
    parser.add_argument(
        "frames",
        nargs="+",
        help="files of frames with labels, or patterns: extended xyz, ASE databases and trajectories, LAMMPS dumps, "
        "vasprun.xml, OUTCAR, Quantum ESPRESSO outputs",
    )
    for label in KEYS:
        parser.add_argument(f"--{label}-key", metavar="KEY", help=f"key of the {label} in the files")
    parser.add_argument("--stress-unit", choices=get_args(StressUnit), help="default: eV/Å^3")
    parser.add_argument("--stress-sign", choices=SIGNS, help="under what a stress is positive; default: tension")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="train.yaml",
        help="read labels as the `data` of this config says (keys, origins)",
    )


def reading_of(options: argparse.Namespace) -> "Reading":
    """How they are to be read. Raises ValueError for a config that is none, or says the same as an option."""
    from ..data.frames import Reading
    from ..data.origins import Origin

    told = {f"{label}_key": getattr(options, f"{label}_key") for label in KEYS}
    told |= {"stress_unit": options.stress_unit, "stress_sign": options.stress_sign}
    given = {key: value for key, value in told.items() if value is not None}
    if options.config is None:
        return Reading(origins=(Origin(**given),) if given else ())
    if given:
        raise ValueError(f"--config says what labels are called and mean; --{next(iter(given)).replace('_', '-')} too")
    from ..config import load_train_config

    # Weights are of training; origins are those of other files too.
    reading = load_train_config(options.config).data.reading()
    return dataclasses.replace(reading, group_weights={}, all_origins=False)
