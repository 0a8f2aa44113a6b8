"""Pages of the reference that are made from the sources, so that they say what the code says."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from mollifield_train.cli import command_line
from mollifield_train.config_reference import configs, markdown

CONFIGS = {
    "train": "What a training is told by `mollifield train config.yaml`.",
    "loop": "What the loop is told by `mollifield loop config.yaml`; its `training` has the sections of a training.",
    "sweep": "What a sweep is told by `mollifield sweep config.yaml`.",
    "neb": "What is told of learning a barrier, by `mollifield property neb ... --learn config.yaml`.",
}
"""What stands above the keys of a config."""
SCHEMA = """\
Every key with its default and meaning, from the classes that read the file. An unknown key is an error that names the
nearest right one. `mollifield schema {name}` prints the same as a JSON schema, with which editors complete and check
the file as it is typed; `mollifield init` writes it beside a config to begin with.
"""


def pages() -> Iterator[tuple[str, str]]:
    """Names of files and their Markdown."""
    yield "commands.md", commands()
    for name, config in configs().items():
        beginning = f"# Keys of the config of `{name}`\n\n{CONFIGS[name]}\n\n{SCHEMA.format(name=name)}\n"
        yield f"config_{name}.md", beginning + markdown(config, "The file")


def commands() -> str:
    """The help of every command, as the program prints it."""
    os.environ["COLUMNS"] = "100"
    parser = command_line()
    parts = ["# Commands\n", "What `mollifield --help` and `mollifield COMMAND --help` print.\n", _help(parser)]
    parts += [f"## mollifield {name}\n\n{_help(command)}" for name, command in subcommands(parser).items()]
    return "\n".join(parts)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """By name; those of a subcommand too, as `data check`."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found[name] = inner
                found |= {f"{name} {below}": each for below, each in subcommands(inner).items()}
    return found


def _help(parser: argparse.ArgumentParser) -> str:
    return f"```text\n{parser.format_help()}```\n"
