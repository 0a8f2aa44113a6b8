"""The command `mollifield`. Each subcommand imports what it needs only when it runs."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .interruption import Interrupted, interruptible, naming_what_is_kept

USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; its exit status.

    0 on success, 2 with one line on a mistake of the user's, 1 where a check failed, 130 and 143 after Ctrl-C and
    SIGTERM, with one line that says what is kept.
    """
    options = _parser().parse_args(arguments)
    try:
        with interruptible():
            return options.run(options) or 0
    except BrokenPipeError:
        # The reader of our output has gone (`mollifield info ... | head`); Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Interrupted as interrupted:
        what = "interrupted" if interrupted.signum == signal.SIGINT else "terminated"
        print(f"mollifield: {what}{interrupted.kept and '; '}{interrupted.kept}", file=sys.stderr)
        return interrupted.exit_status
    except (ValueError, OSError) as error:
        print(f"mollifield: error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    return 0


def train(options: argparse.Namespace) -> None:
    """`mollifield train`: fit a committee and export it."""
    from .config import load_train_config

    config = load_train_config(options.config, options.set)
    from .training.run import train as fit_committee
    from .training.run import what_is_kept
    from .training.run_directory import MODEL_FILE

    with naming_what_is_kept(lambda: what_is_kept(config)):
        result = fit_committee(config, resume=options.resume, initial=options.initial)
    for part in ("train", "valid"):
        if part in result.metrics:
            print(f"{part}: {result.metrics[f'n_{part}']} frames")
            _print_errors(result.metrics[part])
    print(f"written: {result.directory / MODEL_FILE}")


def export(options: argparse.Namespace) -> None:
    """`mollifield export`: the best weights of a run, finished or not, into one model file."""
    from .training.run import export_run

    export_run(options.directory, options.output)
    print(f"written: {options.output}")


def info(options: argparse.Namespace) -> None:
    """`mollifield info`: what a model file is, and whether it reproduces its reference frames."""
    from mollifield.artefact import describe, load_artefact

    print(describe(load_artefact(options.model)))


def evaluate(options: argparse.Namespace) -> None:
    """`mollifield evaluate`: errors of a model file on labelled frames."""
    from .data.keys import LabelKeys
    from .evaluate import evaluate_file, parity_plot
    from .metrics import error_summary

    keys = LabelKeys(options.energy_key, options.forces_key, options.stress_key)
    frames = evaluate_file(options.model, options.frames, options.device, keys)
    print(f"{options.frames}: {len(frames)} frames, {len(frames[0].energies)} members")
    _print_errors(error_summary(frames))
    if options.parity is not None:
        parity_plot(frames, options.parity)
        print(f"written: {options.parity}")


def loop(options: argparse.Namespace) -> None:
    """`mollifield loop`: active learning, continued where it stopped."""
    from .active.loop import run, what_is_kept

    with naming_what_is_kept(lambda: what_is_kept(options.config, options.fresh)):
        run(options.config, fresh=options.fresh)


def lammps_check(options: argparse.Namespace) -> int:
    """`mollifield lammps-check`: does LAMMPS, with the plugin, compute what the model file says?"""
    from mollifield_lammps.check import check_installation, passed, table_row

    checks = []
    for check in check_installation(options.model):
        checks.append(check)
        print(table_row(check), flush=True)
    return 0 if passed(checks) else 1


def _print_errors(summary: dict[str, float]) -> None:
    for quantity, unit, label in (
        ("energy", "mev_per_atom", "meV/atom"),
        ("forces", "mev_per_A", "meV/Å"),
        ("stress", "mev_per_A3", "meV/Å^3"),
    ):
        if f"{quantity}_rmse_{unit}" not in summary:
            continue
        text = f"RMSE {summary[f'{quantity}_rmse_{unit}']:9.3f}  MAE {summary[f'{quantity}_mae_{unit}']:9.3f}"
        if f"{quantity}_std_{unit}" in summary:
            text += (
                f"  single members RMSE {summary[f'{quantity}_rmse_members_{unit}']:9.3f}"
                f"  committee std {summary[f'{quantity}_std_{unit}']:9.3f}"
            )
        print(f"  {quantity:<7}{text}  {label}")


def _parser() -> argparse.ArgumentParser:
    from . import __version__

    parser = argparse.ArgumentParser(
        prog="mollifield", description="Machine-learned interatomic potentials that know what they do not know."
    )
    parser.add_argument("--version", action="version", version=f"mollifield {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")

    command = _command(commands, "train", train, "train a committee and export it")
    command.add_argument("config", type=Path, help="YAML file; keys: mollifield_train.config.TrainConfig")
    command.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="key=value",
        help="override a key of the file, e.g. optimiser.epochs=10; may be repeated",
    )
    command.add_argument(
        "--initial",
        type=Path,
        metavar="path",
        help="warm start from trained members: a run's directory, members.pt or a checkpoint",
    )

    command = _command(commands, "export", export, "write the model file of a run's best weights")
    command.add_argument("directory", type=Path, help="directory of the run")
    command.add_argument("-o", "--output", type=Path, default=Path("model.pt"), help="default: model.pt")

    command = _command(commands, "info", info, "print what a model file is, and check it")
    command.add_argument("model", type=Path, help="exported model file")

    command = _command(commands, "evaluate", evaluate, "errors of a model file on labelled frames")
    command.add_argument("model", type=Path, help="exported model file")
    command.add_argument("frames", type=Path, help="extended-xyz file with energies and forces")
    command.add_argument("--parity", type=Path, metavar="parity.png", help="also draw a parity plot")
    command.add_argument("--device", default="cpu", help="cpu (default), cuda or auto")
    for label in ("energy", "forces", "stress"):
        command.add_argument(f"--{label}-key", default="auto", help=f"key of the {label} in the file")

    command = _command(commands, "loop", loop, "active learning: explore, select, label, retrain")
    command.add_argument("config", type=Path, help="YAML file; keys: mollifield_train.active.config.LoopConfig")
    command.add_argument(
        "--fresh", action="store_true", help="delete the run in the config's directory and start again"
    )

    command = _command(commands, "lammps-check", lammps_check, "test LAMMPS and the plugin on a model file")
    command.add_argument("model", type=Path, help="exported model file")
    return parser


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


if __name__ == "__main__":
    sys.exit(main())
