"""One fit on one process and on several (`devices`): CPU time of each rank, wall time, and what differs in the end.

    OMP_NUM_THREADS=1 python benchmarks/devices.py frames.xyz --frames 64 --epochs 3 --batch 8

A step takes as long as the rank that works longest, and the sum of gradients. On a machine that is not idle walls say
nothing; the longest rank's CPU time is what is left, and what a wall would be on free cores with a free network.
"""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import ase.io
import torch
from timing import cpu_of_children

from mollifield_train.config import TrainConfig, validated
from mollifield_train.model.samples import member_state
from mollifield_train.training.distributed import Fit, started_ranks
from mollifield_train.training.lightning_fit import fit_members
from mollifield_train.training.loading import load_data
from mollifield_train.training.members import build_potential
from mollifield_train.training.parallel import Task
from mollifield_train.training.progress import quiet_lightning
from mollifield_train.training.ranks import ALONE
from mollifield_train.training.run_directory import FitFolder

CPU = torch.device("cpu")


def config(options: argparse.Namespace, folder: str) -> TrainConfig:
    frames = Path(folder) / "frames.xyz"
    ase.io.write(frames, ase.io.read(options.data, f":{options.frames}"), format="extxyz")
    values = {
        "directory": folder,
        "dtype": options.dtype,
        "data": {"train": str(frames), "valid_fraction": 0.0},
        "model": options.model,
        "committee": {"n_members": options.members},
        "optimiser": {"epochs": options.epochs, "batch_size": options.batch},
    }
    return validated(TrainConfig, values, "benchmark")


def cpu_seconds() -> dict[str, float]:
    """Of each rank so far."""
    return {"rank 0": time.process_time()} | {name: seconds for (name, _), seconds in cpu_of_children().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--model", default="balanced")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    longest, weights, rows = {}, {}, {}
    for n in options.ranks:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            settings = config(options, folder)
            data = load_data(settings, progress=False)
            model = build_potential(settings, data.statistics, 0, options.members)
            seeds = list(range(options.members))
            ranks = ALONE if n == 1 else stack.enter_context(started_ranks(n, "cpu"))
            torch.set_num_threads(1)
            ranks.say(Task(settings, data, model.architecture, member_state(model), seeds, None))
            ranks.say(Fit(None, None))
            wall, before = time.perf_counter(), cpu_seconds()
            with quiet_lightning():
                best, history = fit_members(
                    settings, data, model, seeds, FitFolder(Path(folder), {}, None), CPU, None, None, ranks
                )
            wall, after = time.perf_counter() - wall, cpu_seconds()
            n_steps = history[-1]["step"]
            each = {name: 1000.0 * (after[name] - before[name]) / n_steps for name in after}
            longest[n], weights[n], rows[n] = max(each.values()), member_state(best), history[-1]
        shown = ", ".join(f"{name} {value:.1f}" for name, value in each.items())
        print(f"{n} ranks, {n_steps:.0f} steps: CPU ms a step: {shown}; wall {1000.0 * wall / n_steps:.1f}", flush=True)
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    first = options.ranks[0]
    for n in options.ranks[1:]:
        apart = max(float((weights[n][name] - tensor).abs().max()) for name, tensor in weights[first].items())
        print(f"{n} / {first} ranks: longest rank {longest[n] / longest[first]:.2f}; weights differ by {apart:.1e}")
        for key in ("train_loss", "train_forces_rmse_mev_per_A"):
            print(f"last epoch's {key}: {rows[first][key]:.10g}, {rows[n][key]:.10g}")
    print(f"gradients: {n_bytes / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
