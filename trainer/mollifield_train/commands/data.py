"""`mollifield data check`: what labelled frames are, and what is odd about them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .labelled_frames import add_files, reading_of
from .tables import print_table

if TYPE_CHECKING:
    from ..data.survey import Survey

N_ROWS = 20
"""Groups that a table shows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    actions = parser.add_subparsers(title="actions", required=True, metavar="action", dest="action")
    text = "counts, labels, ranges, and what is odd: outliers, copies, contacts, net forces, signs; changes nothing"
    check = actions.add_parser("check", help=text, description=text)
    add_files(check)
    check.add_argument("--png", type=Path, metavar="PNG", help="also draw a picture")
    check.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers")


def run(options: argparse.Namespace) -> int:
    """Look, print, draw; 1 where a training would refuse something."""
    from ..data.picture import draw_survey
    from ..data.survey import described, survey
    from ..durable import replacing, write_json

    found = survey(options.frames, reading_of(options))
    facts = described(found)
    print_facts(found, facts)
    if options.json is not None:
        write_json(options.json, facts)
        print(f"written: {options.json}")
    if options.png is not None and found.frames:
        with replacing(options.png) as temporary:
            draw_survey(found, temporary)
        print(f"written: {options.png}")
    return 1 if found.refused else 0


def print_facts(found: "Survey", facts: dict[str, Any]) -> None:
    """Tables, then what is odd, then what cannot be used."""
    n_isolated = facts["n_isolated_atoms"]
    print(f"{facts['n_frames']} frames" + (f", {n_isolated} of them isolated atoms" if n_isolated else ""))
    for by, groups in facts["by"].items():
        if by != "config_type" or set(groups) != {"-"}:
            print_table([by, "frames", "atoms", *("with " + label for label in facts["labels"])], _rows(groups), N_ROWS)
    print_table(["range", "least", "median", "greatest"], _rows(facts["ranges"]))
    if facts["shortest_distances_A"]:
        print_table(["pair", "shortest (Å)"], list(facts["shortest_distances_A"].items()), N_ROWS)
    if facts["undetermined_species"]:
        print(
            f"energies of {', '.join(facts['undetermined_species'])} are not told apart by these compositions: those "
            "of other compositions will be outside; isolated atoms would settle it"
        )
    for line in found.odd:
        print(f"odd: {line}")
    for line in found.refused[:N_ROWS]:
        print(f"refused: {line}")
    if len(found.refused) > N_ROWS:
        print(f"refused: {len(found.refused) - N_ROWS} more")
    if not found.odd and not found.refused:
        print("nothing odd")


def _rows(groups: dict[str, dict[str, Any]]) -> list[list[object]]:
    return [[name, *values.values()] for name, values in groups.items()]
