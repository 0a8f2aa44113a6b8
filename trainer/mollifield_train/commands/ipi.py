"""`mollifield ipi`: the potential as a client of i-PI."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file, such as runs/mine/model.pt")
    parser.add_argument(
        "structure",
        type=Path,
        metavar="STRUCTURE",
        help="file that ASE reads, with the atoms in i-PI's order: their species and periodicity are taken",
    )
    parser.add_argument(
        "--unix", metavar="NAME", help="connect through the UNIX socket /tmp/ipi_NAME, in place of the internet"
    )
    parser.add_argument("--address", default="localhost", help="host that i-PI runs on; default: localhost")
    parser.add_argument("--port", type=int, default=31415, help="port that i-PI listens to; default: 31415")
    parser.add_argument(
        "--mean-only",
        action="store_true",
        help="send the mean alone, without what members say (committee_pot, committee_force, committee_virial)",
    )


def run(options: argparse.Namespace) -> None:
    """Connect, answer until the server hangs up."""
    from mollifield.ipi import IpiClient

    from ..images import read_images

    atoms = read_images(options.structure)[0]
    client = IpiClient(
        options.model,
        atoms,
        host=options.address,
        port=options.port,
        unixsocket=options.unix,
        committee=False if options.mean_only else None,
    )
    print(f"{client.serve()} structures answered")
