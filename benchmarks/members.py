"""Members one after the other, and on worker processes: wall time, and CPU time of the longest chain of work.

    OMP_NUM_THREADS=1 python benchmarks/members.py frames.xyz --epochs 20 --members 4 --workers 2

Walls say something on an idle machine only. The chain is what a wall would be on free cores: CPU time of the run
itself, and of the worker that worked longest.
"""

import argparse
import tempfile
import threading
import time

import torch
from timing import cpu_of_children

from mollifield_train.config import TrainConfig, validated
from mollifield_train.model.samples import member_state
from mollifield_train.training import run
from mollifield_train.training.run import train


def config(options: argparse.Namespace, directory: str, training: str) -> TrainConfig:
    values = {
        "directory": directory,
        "data": {"train": options.frames},
        "committee": {"n_members": options.members, "training": training, "workers": options.workers},
        "optimiser": {"epochs": options.epochs},
    }
    return validated(TrainConfig, values, "benchmark")


def watch(seconds: dict[tuple[str, int], float], over: threading.Event) -> None:
    """CPU seconds of each worker, as long as it lives."""
    while not over.wait(0.05):
        seconds.update(cpu_of_children())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    run.export = lambda *arguments, **named: None  # the same for both
    found = {}
    for training in ("one_by_one", "parallel"):
        workers: dict[tuple[str, int], float] = {}
        over = threading.Event()
        thread = threading.Thread(target=watch, args=(workers, over))
        thread.start()
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            result = train(config(options, folder, training), progress=False, report=lambda line: None)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        over.set()
        thread.join()
        chain = cpu + max(workers.values(), default=0.0)
        found[training] = wall, chain, member_state(result.model)
        print(f"{training:<12} wall {wall:7.1f} s   chain {chain:7.1f} s   {workers}", flush=True)
    one, other = found["one_by_one"], found["parallel"]
    same = all(torch.equal(one[2][name], other[2][name]) for name in one[2])
    print(f"parallel / one_by_one: wall {other[0] / one[0]:.2f}, chain {other[1] / one[1]:.2f}; same weights: {same}")


if __name__ == "__main__":
    main()
