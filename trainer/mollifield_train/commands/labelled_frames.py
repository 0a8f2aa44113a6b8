"""Arguments of commands that read labelled frames."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..data.unit_names import SIGNS, StressUnit

if TYPE_CHECKING:
    from ..data.frames import Reading

KEYS = ("energy", "forces", "stress", "virial")


def add_frames(parser: argparse.ArgumentParser) -> None:
    """The files, where to evaluate them, and what their labels are called and mean."""
    add_files(parser)
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where the model runs."""
    parser.add_argument(
        "--device", default="cpu", help="cpu (default), cuda, cuda:1, ..., or auto: a GPU if there is one"
    )


def add_files(parser: argparse.ArgumentParser) -> None:
    """The files, and what their labels are called and mean."""
    parser.add_argument(
        "frames",
        nargs="+",
        metavar="FRAMES",
        help="files of frames with labels, or quoted patterns such as 'run-*.xyz': extended xyz, ASE databases and "
        "trajectories, LAMMPS dumps, vasprun.xml, OUTCAR, Quantum ESPRESSO outputs",
    )
    labels = parser.add_argument_group("labels", "What they are called, and what they mean, where it is not as usual.")
    for label in KEYS:
        labels.add_argument(
            f"--{label}-key",
            metavar="KEY",
            help=f"name of the {label} in the files, if it is neither REF_{label} nor ASE's own",
        )
    units = ", ".join(get_args(StressUnit))
    labels.add_argument(
        "--stress-unit", choices=get_args(StressUnit), metavar="UNIT", help=f"one of {units}; default: eV/Å^3"
    )
    labels.add_argument(
        "--stress-sign", choices=SIGNS, help="under which of these a stress is positive; default: tension"
    )
    labels.add_argument(
        "--config",
        type=Path,
        metavar="TRAIN.YAML",
        help="read labels as the `data` of this config says (keys, units, origins), in place of the options above",
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
