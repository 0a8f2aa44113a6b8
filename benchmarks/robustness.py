"""What a loop loses when things die: labels of workers that are killed, and runs that are killed at random moments.

    python benchmarks/robustness.py --tasks 1000 --part 0.05 --kills 50

First, so many frames are labelled by two workers of which one dies in the given part of the calculations (SIGKILL of
its own doing). Then loops with stubs for model and explorer (`tests/loop/stub_loop.py`) are killed with SIGKILL after
random times, until there were so many kills; every run that came to its end is compared with one that nobody touched.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ase.build import bulk
from ase.calculators.emt import EMT

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.loop, and this file for the workers
sys.path.insert(0, str(Path(__file__).parent))

from mollifield_train.active.label.labelling import label_chosen
from mollifield_train.active.store import LABELLED, Store, content_key
from mollifield_train.durable import read_json
from mollifield_train.oracle.calculators import AnyAseConfig
from tests.loop import stub_parts
from tests.loop.test_loop_killed import labels, run_to_the_end, start


class Mortal(EMT):
    """Kills its own process in a part of the calculations; logs those that it begins and those that it ends."""

    def __init__(self, log: str, part: float) -> None:
        super().__init__()
        self.log, self.part = log, part

    def _note(self, line: str) -> None:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        key = content_key(atoms)
        self._note(f"begun {key}\n")
        if random.SystemRandom().random() < self.part:
            os.kill(os.getpid(), signal.SIGKILL)
        super().calculate(atoms, *arguments, **more)
        self._note(f"ended {key}\n")


def killed_workers(n: int, part: float) -> None:
    """Prints how many labels there are, and how often each was computed to its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "labels").mkdir()
        frames = []
        for seed in range(n):
            frames.append(bulk("Al", cubic=True))
            frames[-1].rattle(0.05, seed=seed)
        store = Store(folder / "frames.db")
        store.add_given(frames)
        config = AnyAseConfig(
            calculator="robustness.Mortal", arguments={"log": str(folder / "log"), "part": part}, workers=2, retries=20
        )
        began = time.monotonic()
        label_chosen(store, config, folder / "labels", "given")
        wall = time.monotonic() - began
        lines = [line.split() for line in (folder / "log").read_text().splitlines()]
        begun, ended = (Counter(key for word, key in lines if word == wanted) for wanted in ("begun", "ended"))
        n_labelled = len(store.frames(status=LABELLED))
        print(f"{n} tasks, {begun.total() - ended.total()} workers killed: {n_labelled} labels in {wall:.0f} s")
        print(f"computed to the end: once {sum(k == 1 for k in ended.values())}, more often {max(ended.values()) > 1}")
        if n_labelled != n or ended.total() != n:
            sys.exit("a label was lost, or computed twice")


def killed_loops(n_kills: int, seed: int) -> None:
    """Prints how many runs came to their end, and whether all are what an untouched one is."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        whole.mkdir()
        stub_parts.write_config(whole)
        began = time.monotonic()
        run_to_the_end(whole)
        longest = time.monotonic() - began
        reference = labels(whole), read_json(whole / "run" / "rounds.json")
        kills, runs, repeated = 0, 0, 0
        while kills < n_kills:
            folder = Path(name) / f"run-{runs}"
            folder.mkdir()
            stub_parts.write_config(folder)
            while kills < n_kills:
                with start(folder) as process:
                    try:
                        process.communicate(timeout=rng.uniform(0.0, 0.7 * longest))
                    except Exception:
                        process.send_signal(signal.SIGKILL)
                        process.communicate()
                        kills += 1
                        continue
                break
            run_to_the_end(folder)
            runs += 1
            if (labels(folder), read_json(folder / "run" / "rounds.json")) != reference:
                sys.exit(f"run {runs} has another result")
            calls = Counter((folder / "calls").read_text().split())
            repeated += calls.total() - len(calls)
        print(f"{kills} kills of loops that take {longest:.0f} s: {runs} runs, all with the result of an untouched one")
        print(f"calculations that a kill between their end and the disk had repeated: {repeated}")


def main() -> None:
    """Both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--part", type=float, default=0.05)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.tasks:
        killed_workers(options.tasks, options.part)
    if options.kills:
        killed_loops(options.kills, options.seed)


if __name__ == "__main__":
    main()
