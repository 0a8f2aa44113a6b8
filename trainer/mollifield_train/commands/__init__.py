"""The subcommands of `mollifield`, a file each. They import what they need only when they run."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from . import (
    calibrate,
    compare,
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
)


@dataclass(frozen=True)
class Command:
    """What a subcommand's file offers."""

    text: str
    """Its line in `mollifield --help`."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]
    """Returns the exit status (None: 0). Raises ValueError and OSError for a mistake of the user's."""


COMMANDS = {
    "init": Command("write a commented config to begin with", init.add_arguments, init.run),
    "data": Command("look at labelled frames before training on them", data.add_arguments, data.run),
    "train": Command("train a committee and export it", train.add_arguments, train.run),
    "sweep": Command("train over ranges of keys: error against cost", sweep.add_arguments, sweep.run),
    "export": Command("write the model file of a run's best weights", export.add_arguments, export.run),
    "info": Command("print what a model file is, and check it", info.add_arguments, info.run),
    "evaluate": Command("errors of a model file on labelled frames", evaluate.add_arguments, evaluate.run),
    "compare": Command("two model files on the same labelled frames", compare.add_arguments, compare.run),
    "calibrate": Command("fit a model file's stds to labelled frames", calibrate.add_arguments, calibrate.run),
    "posterior": Command(
        "a trained model as samples of its last layer's posterior", posterior.add_arguments, posterior.run
    ),
    "noise": Command("fit the noise of labels to a trained model's residuals", noise.add_arguments, noise.run),
    "update": Command("take further frames into a posterior, without a training", update.add_arguments, update.run),
    "property": Command(
        "a material's properties by a model file, with error bars", property.add_arguments, property.run
    ),
    "loop": Command("active learning: explore, select, label, retrain", loop.add_arguments, loop.run),
    "status": Command("how far a loop is", status.add_arguments, status.run),
    "pause": Command("have a loop end before its next step", pause.add_arguments, pause.run),
    "resume": Command("go on with a loop, by its directory", resume.add_arguments, resume.run),
    "retry-failed": Command(
        "give frames that the oracle failed on another chance", retry_failed.add_arguments, retry_failed.run
    ),
    "export-dataset": Command("a loop's labels as an extxyz file", export_dataset.add_arguments, export_dataset.run),
    "schema": Command("what a config file may say, for editors or people", schema.add_arguments, schema.run),
    "ipi": Command("answer i-PI, members along with the mean", ipi.add_arguments, ipi.run),
    "lammps-check": Command("test LAMMPS and the plugin on a model file", lammps_check.add_arguments, lammps_check.run),
}
"""By name, in the order of the help."""
