"""`mollifield init`: a commented config to begin with."""

import argparse
import json
from importlib import resources
from pathlib import Path

BEGINNINGS = {"own-data": "train", "molecule": "loop", "crystal": "loop"}
"""What there is, and the command that reads it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "what",
        choices=tuple(BEGINNINGS),
        metavar="WHAT",
        help="own-data: a training on labelled frames; molecule: active learning against GFN2-xTB; crystal: against "
        "Quantum ESPRESSO; from one structure each",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="where the files go; made where it is missing; default: here"
    )


def run(options: argparse.Namespace) -> None:
    """Write the config, and the schema that an editor completes it by."""
    from ..config_reference import configs, json_schema

    command = BEGINNINGS[options.what]
    config, schema = options.folder / f"{command}.yaml", options.folder / f"{command}.schema.json"
    if config.exists():
        raise ValueError(f"{config} exists already, and is left alone; give another --folder")
    options.folder.mkdir(parents=True, exist_ok=True)
    text = (resources.files("mollifield_train") / "beginnings" / f"{options.what}.yaml").read_text("utf-8")
    schema.write_text(json.dumps(json_schema(configs()[command]), indent=1, ensure_ascii=False), encoding="utf-8")
    config.write_text(text, encoding="utf-8")
    print(f"{config} written, and {schema} for your editor; edit it, then: mollifield {command} {config}")
