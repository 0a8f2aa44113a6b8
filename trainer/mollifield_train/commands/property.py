"""`mollifield property`: what a model file says of a material, every number with an error bar."""

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .labelled_frames import add_device
from .tables import print_table

if TYPE_CHECKING:
    from ase import Atoms

    from mollifield.properties import Property, Report

    from ..active.barrier import Measure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument(
        "name", metavar="NAME", help="eos, elastic, phonons, defect, neb, md or pimd (docs/properties.md)"
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file of a committee, or of samples")
    parser.add_argument(
        "structures",
        nargs="+",
        metavar="STRUCTURE",
        help="files that ASE reads; file.xyz@0 is the first structure in it",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="for the numbers and the picture; default: ./NAME"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the property; `--set help` lists them with their defaults",
    )
    parser.add_argument(
        "--level", type=float, default=0.9, help="part of the errors that intervals are to hold; default: 0.9"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.25,
        metavar="PART",
        help="a quantity is `not to be believed` where half its interval is more than this part of it; default: 0.25",
    )
    parser.add_argument(
        "--learn",
        type=Path,
        metavar="FILE",
        help="neb only: YAML file by which an oracle labels uncertain images and the model is trained on; "
        "keys: mollifield_train.active.barrier_config.LearnConfig",
    )
    parser.add_argument(
        "--no-error-bar", action="store_true", help="values by the mean potential alone; for model files of one member"
    )
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Compute, print, write, draw."""
    from matplotlib.figure import Figure

    from mollifield import MollifieldCalculator
    from mollifield.properties import samples_of

    from ..durable import replacing, write_json
    from ..progress import counted

    calculation = calculation_of(options.name, options.set)
    structures = [_structure(text) for text in options.structures]
    folder = options.output if options.output is not None else Path(options.name)

    def measure(calculator: MollifieldCalculator, structures: "Sequence[Atoms]") -> "Report":
        samples = samples_of(calculator, not options.no_error_bar)
        return calculation.measure(samples, structures, options.level, options.tolerance, counted)

    facts = {"property": options.name, "model": str(options.model), "structures": options.structures}
    if options.learn is None:
        report = measure(MollifieldCalculator(options.model, options.device), structures)
    else:
        report, learnt = _learnt(options, structures, folder, measure)
        facts |= learnt
    print_report(report)
    numbers, picture = folder / f"{options.name}.json", folder / f"{options.name}.png"
    write_json(numbers, {**facts, "settings": dataclasses.asdict(calculation), **report.as_dict()})
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    calculation.draw(report, figure)
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=130)
    print(f"written: {numbers}, {picture}")


def _learnt(
    options: argparse.Namespace, structures: "Sequence[Atoms]", folder: Path, measure: "Measure"
) -> "tuple[Report, dict[str, Any]]":
    """What is reported of the last of the models that were learnt on the way, and the way."""
    from ..active.barrier import learn_barrier
    from ..active.barrier_config import LearnConfig
    from ..section import validated
    from ..yaml_values import read_yaml

    if options.name != "neb" or options.no_error_bar:
        raise ValueError("--learn is for neb with error bars: it asks the oracle where these are large")
    config = validated(LearnConfig, read_yaml(options.learn), str(options.learn))
    rounds = learn_barrier(options.model, structures, config, folder / "learn", measure, print, options.device)
    last = rounds[-1]
    print(f"model: {last.model}")
    return last.report, {"learnt": [one.as_dict() for one in rounds]}


def calculation_of(name: str, settings: Sequence[str]) -> "Property":
    """The property of this name with settings `key=value`. Raises ValueError for names and keys that are none."""
    from mollifield.properties import PROPERTIES
    from mollifield.properties.options import TEXT

    kind = PROPERTIES.get(name)
    if kind is None:
        known = "; ".join(f"{known} ({kind.text})" for known, kind in PROPERTIES.items())
        raise ValueError(f"no property '{name}'; there are: {known}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in fields:
            known = "; ".join(f"{key}={_shown(one.default)} ({one.metadata[TEXT]})" for key, one in fields.items())
            raise ValueError(f"no setting '{setting}' of {name}; there are, with their defaults: {known}")
        values[key] = _parsed(key, text, fields[key].default)
    return kind(**values)


def _parsed(key: str, text: str, default: Any) -> Any:
    """A value of the default's type."""
    try:
        if isinstance(default, tuple):
            return tuple(type(default[0])(part) for part in text.split(","))
        return type(default)(text)
    except ValueError:
        raise ValueError(f"{key}={text}; allowed is a value such as {_shown(default)}") from None


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)


def _structure(text: str) -> "Atoms":
    """The geometry; raises ValueError that names the file where it holds none."""
    import ase.io

    try:
        atoms: Any = ase.io.read(text)
    except OSError:
        raise
    except Exception as error:  # each of ASE's readers has its own
        raise ValueError(f"{text}: no structure that ASE reads: {error}") from error
    atoms.calc = None
    return cast("Atoms", atoms)


def print_report(report: "Report") -> None:
    """A row for each number, and what is not to be believed."""
    numbers = {name: found for name, found in report.estimates.items() if found.value.ndim == 0}
    if report.n_members == 0:
        print_table(["", "value", "unit"], [[name, float(found.value), found.unit] for name, found in numbers.items()])
    else:
        head = ["", "value", f"± ({100 * report.level:g}%)", "std", "unit", ""]
        doubted = {name: "" if report.believed(name) else "not to be believed" for name in numbers}
        rows = [
            [name, *map(_number, (one.value, one.interval, one.std)), one.unit, doubted[name]]
            for name, one in numbers.items()
        ]
        print_table(head, rows)
        factors = [f"{factor:.3g} ({kind})" for kind, factor in report.calibration_factors.items()]
        text = f"times {', '.join(factors)} by the calibration" if factors else "uncalibrated (`mollifield calibrate`)"
        print(f"error bars of {report.n_members} members, {text}")
    for doubt in report.doubts:
        print(f"not to be believed: {doubt}")
    for name, found in report.estimates.items():
        if found.doubt:
            print(f"not to be believed: {name}: {found.doubt}")


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
