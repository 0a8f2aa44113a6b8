"""`mollifield ipi`: the potential as a client of i-PI."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, help="exported model file")
    parser.add_argument("structure", type=Path, help="species and periodicity of the atoms, in i-PI's order")
    parser.add_argument("--unix", metavar="NAME", help="UNIX socket /tmp/ipi_NAME")
    parser.add_argument("--address", default="localhost", help="host of an internet socket; default: localhost")
    parser.add_argument("--port", type=int, default=31415, help="default: 31415")
    parser.add_argument(
        "--mean-only", action="store_true", help="no members along: committee_pot, committee_force, committee_virial"
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
