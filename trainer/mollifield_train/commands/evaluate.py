"""`mollifield evaluate`: errors of a model file on labelled frames."""

import argparse
from pathlib import Path
from typing import Any

from .errors_table import LABELS, print_measures
from .labelled_frames import add_frames, reading_of
from .tables import print_table

N_GROUPS = 40
"""Groups that the table shows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file, such as runs/mine/model.pt")
    add_frames(parser)
    parser.add_argument(
        "--by",
        metavar="KEY",
        help="errors of groups too: by config_type, any other word in the files, file or composition",
    )
    parser.add_argument(
        "--largest", type=int, default=5, metavar="N", help="how many of the largest errors to name; default: 5"
    )
    parser.add_argument("--parity", type=Path, metavar="PNG", help="also draw errors and calibration")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers")


def run(options: argparse.Namespace) -> None:
    """Predict, print the errors, draw."""
    from ..durable import replacing, write_json
    from ..evaluate import evaluate_file
    from ..evaluation.plots import draw
    from ..evaluation.tables import groups_of, tables

    frames = evaluate_file(options.model, options.frames, options.device, reading_of(options))
    if options.by is not None:
        groups_of(frames, options.by)  # an unknown key is an error before anything is printed
    found = tables(frames, options.by, max(0, options.largest))
    print(f"{', '.join(options.frames)}: {found['n_frames']} frames, {found['n_members']} members")
    print_tables(found)
    if options.json is not None:
        write_json(options.json, found)
        print(f"written: {options.json}")
    if options.parity is not None:
        with replacing(options.parity) as temporary:
            draw(frames, temporary, options.by)
        print(f"written: {options.parity}")


def print_tables(found: dict[str, Any]) -> None:
    """What `evaluation.tables` found."""
    print_measures(found["errors"])
    species = found["forces_by_species"]
    if species:
        head = ["forces on", "atoms", "RMSE", "MAE", "largest", "std"]
        columns = ("n_atoms", "rmse", "mae", "largest", "std")
        print_table(head, [[symbol, *map(row.get, columns)] for symbol, row in species.items()])
    if "groups" in found:
        head = [found["by"], "frames", "energy RMSE", "offset", "without offset", "forces RMSE", "MAE", "stress RMSE"]
        print_table(head, [_group_row(name, group) for name, group in found["groups"].items()], N_GROUPS)
    for quantity, row in found["calibration"].items():
        print(
            f"  {quantity}: rms of error/std {row['rms_error_over_std']:.2f}, {100 * row['within_std']:.0f}% of errors "
            f"within the std ({100 * row['within_std_if_normal']:.0f}% if normal), rank correlation "
            f"{row['rank_correlation']:.2f}"
        )
    outside = found["outside"]
    if outside["n_energies"]:
        print(
            f"  outside of the training data: {outside['n_atoms']} atoms in {outside['n_frames']} frames; the energies "
            f"of {outside['n_energies']} frames"
        )
    for quantity, rows in found["largest"].items():
        for row in rows:
            atom = f", atom {row['atom']} ({row['symbol']}, |F| {row['force']:.4g})" if "atom" in row else ""
            std = f", std {row['std']:.4g}" if "std" in row else ""
            print(
                f"  largest {quantity}: {row['error']:.4g} {LABELS[quantity]} in frame {row['frame']} of "
                f"{row['file']}{atom}{std}"
            )


def _group_row(name: str, group: dict[str, Any]) -> list[object]:
    energy, forces, stress = (group["errors"].get(quantity, {}) for quantity in ("energy", "forces", "stress"))
    values = (*map(energy.get, ("rmse", "offset", "rmse_without_offset")), *map(forces.get, ("rmse", "mae")))
    return [name, group["n_frames"], *values, stress.get("rmse")]
