"""The subcommands of `mollifield`, a file each. They import what they need only when they run."""

import argparse
from dataclasses import dataclass
from types import ModuleType

from . import (
    calibrate,
    compare,
    completion,
    data,
    evaluate,
    export,
    export_dataset,
    info,
    init,
    ipi,
    lammps_check,
    loop,
    noise,
    pause,
    posterior,
    property,
    resume,
    retry_failed,
    schema,
    status,
    sweep,
    train,
    update,
    upgrade,
)


@dataclass(frozen=True)
class Command:
    """What a subcommand's file offers."""

    text: str
    """Its line in `mollifield --help`: what it does, as an order."""
    module: ModuleType
    """Has `add_arguments` and `run`."""
    examples: tuple[str, ...]
    """Command lines, at the end of its help."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Of its command line."""
        self.module.add_arguments(parser)

    def run(self, options: argparse.Namespace) -> int | None:
        """Returns the exit status (None: 0). Raises ValueError and OSError for a mistake of the user's."""
        status: int | None = self.module.run(options)
        return status


COMMANDS = {
    "init": Command(
        "write a commented config to begin with",
        init,
        ("mollifield init own-data", "mollifield init molecule --folder ethanol"),
    ),
    "data": Command(
        "look at labelled frames before training on them",
        data,
        ("mollifield data check frames.extxyz --png frames.png",),
    ),
    "train": Command(
        "train a committee, and write its model file",
        train,
        (
            "mollifield train train.yaml",
            "mollifield train train.yaml --set optimiser.minutes=5 --set directory=runs/short",
        ),
    ),
    "sweep": Command(
        "train over ranges of keys, for a table of error against cost", sweep, ("mollifield sweep sweep.yaml",)
    ),
    "export": Command(
        "write the model file of a training's best weights, finished or not",
        export,
        ("mollifield export runs/mine -o model.pt",),
    ),
    "info": Command(
        "print what a model file is and check it, or what is installed",
        info,
        ("mollifield info runs/mine/model.pt", "mollifield info"),
    ),
    "evaluate": Command(
        "print the errors of a model file on labelled frames",
        evaluate,
        (
            "mollifield evaluate model.pt test.extxyz --by config_type --parity errors.png",
            "mollifield evaluate model.pt test.xyz --energy-key dft_energy --forces-key dft_forces",
        ),
    ),
    "compare": Command(
        "say which of two model files is better on labelled frames, if one is",
        compare,
        ("mollifield compare model.pt other.pt test.extxyz",),
    ),
    "calibrate": Command(
        "fit the stds of a model file to its errors on labelled frames",
        calibrate,
        ("mollifield calibrate model.pt held-out.extxyz -o calibrated.pt",),
    ),
    "posterior": Command(
        "turn a trained model into samples of its last layer's posterior",
        posterior,
        ("mollifield posterior model.pt frames.extxyz -o samples.pt --kind pops",),
    ),
    "noise": Command(
        "fit the noise of labels to the residuals of a trained model",
        noise,
        ("mollifield noise model.pt held-out.extxyz -o noisy.pt",),
    ),
    "update": Command(
        "take further frames into a posterior, without a training",
        update,
        ("mollifield update samples.pt new.extxyz -o samples.pt",),
    ),
    "property": Command(
        "compute properties of a material, with error bars",
        property,
        ("mollifield property elastic model.pt silicon.cif", "mollifield property eos model.pt silicon.cif --set help"),
    ),
    "loop": Command("run active learning: explore, select, label, retrain", loop, ("mollifield loop loop.yaml",)),
    "status": Command("say how far a loop is", status, ("mollifield status runs/molecule",)),
    "pause": Command("have a loop end before its next step", pause, ("mollifield pause runs/molecule",)),
    "resume": Command("go on with a loop, by its directory", resume, ("mollifield resume runs/molecule",)),
    "retry-failed": Command(
        "give frames that the oracle failed on another chance",
        retry_failed,
        ("mollifield retry-failed runs/molecule --reason timeout",),
    ),
    "export-dataset": Command(
        "write the labels of a loop as an extxyz file",
        export_dataset,
        ("mollifield export-dataset runs/molecule -o labels.extxyz",),
    ),
    "schema": Command(
        "print what a config file may say, for editors or people",
        schema,
        ("mollifield schema train --markdown", "mollifield schema loop > loop.schema.json"),
    ),
    "upgrade": Command(
        "write a model file of an earlier release in the format of this one", upgrade, ("mollifield upgrade model.pt",)
    ),
    "ipi": Command(
        "answer i-PI, members along with the mean", ipi, ("mollifield ipi model.pt start.xyz --unix mollifield",)
    ),
    "lammps-check": Command(
        "test LAMMPS and the plugin on a model file", lammps_check, ("mollifield lammps-check model.pt",)
    ),
    "completion": Command(
        "print a script by which your shell completes these commands",
        completion,
        ("mollifield completion bash > ~/.local/share/bash-completion/completions/mollifield",),
    ),
}
"""By name, in the order of the help."""
