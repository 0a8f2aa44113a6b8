"""`mollifield lammps-check`: does LAMMPS, with the plugin, compute what the model file says?"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file, such as runs/mine/model.pt")


def run(options: argparse.Namespace) -> int:
    """Print a line for each check as it is done; 1 where one failed."""
    from mollifield_lammps.check import check_installation, passed, table_row

    checks = []
    for check in check_installation(options.model):
        checks.append(check)
        print(table_row(check), flush=True)
    return 0 if passed(checks) else 1
