"""`mollifield schema`: what a config file may say, for an editor or for people."""

import argparse
import json
import sys

CONFIGS = ("train", "loop", "sweep", "neb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "config", choices=CONFIGS, metavar="COMMAND", help="whose config: train, loop, sweep, or neb (of its --learn)"
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="tables of all keys, their meaning and default, in the place of a JSON schema",
    )


def run(options: argparse.Namespace) -> None:
    """Print it."""
    from ..config_reference import configs, json_schema, markdown

    config = configs()[options.config]
    if options.markdown:
        sys.stdout.write(markdown(config, f"`mollifield {options.config}`"))
    else:
        print(json.dumps(json_schema(config), indent=1, ensure_ascii=False))
