"""What the loop itself costs: processor time of a run that is neither of exploring, labelling, training nor predicting.

    python benchmarks/loop_overhead.py examples/ethanol/loop.yaml /tmp/overhead rounds=1 test_set.n_frames=40
    python benchmarks/loop_overhead.py --rounds 100

The first runs a config with its arms one after the other in one process, in a folder of its own, and counts processor
time, which does not depend on what else the machine does: of this process outside the parts (the page at the end is the
loop's own), over that of this process and all its children. The second prints the resident memory and the number of
objects of a loop with stubs after every tenth round.
"""

import argparse
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from mollifield_train.active import report
from mollifield_train.active.committee import Committee
from mollifield_train.active.config import LoopConfig
from mollifield_train.active.loop import default_parts, run_loop
from mollifield_train.active.parts import Parts
from mollifield_train.section import validated
from mollifield_train.yaml_values import read_yaml

SPENT: Counter[str] = Counter()
"""Processor seconds of this process, by part; what is part of a part counts once."""


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, counted."""

    def counted(*arguments: Any, **more: Any) -> Any:
        began, before = time.process_time(), sum(SPENT.values())
        try:
            return function(*arguments, **more)
        finally:
            within = sum(SPENT.values()) - before
            SPENT[name] += time.process_time() - began - within

    return counted


class Timed:
    """A committee whose predictions are counted."""

    def __init__(self, committee: Committee) -> None:
        self.species = committee.species
        self.predict = timed("predict", committee.predict)


def timed_parts(config: LoopConfig) -> Parts:
    """Those of a real run."""
    parts = default_parts(config)
    load = timed("predict", parts.load_committee)
    return replace(
        parts,
        train=timed("train", parts.train),
        explore=timed("explore", parts.explore),
        load_committee=lambda path: Timed(load(path)),
    )


def overhead(path: Path, directory: Path, changes: list[str]) -> None:
    """Prints the parts, and what is left."""
    values = read_yaml(path)
    for change in changes:
        key, _, value = change.partition("=")
        section = values
        for name in key.split(".")[:-1]:
            section = section.setdefault(name, {})
        section[key.split(".")[-1]] = yaml.safe_load(value)
    values |= {"directory": str(directory), "parallel": False}
    config = validated(LoopConfig, values, str(path))
    report.write_report = timed("page", report.write_report)
    timed_parts(config)  # imports are paid once a process, whatever the length of the run
    before, wall = time.process_time(), time.monotonic()
    run_loop(config, True, timed_parts)
    own, wall = time.process_time() - before, time.monotonic() - wall
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    others = children.ru_utime + children.ru_stime
    driver = own - sum(SPENT.values()) + SPENT["page"]
    for name, seconds in SPENT.items():
        print(f"{name:<10} {seconds:8.1f} s of this process")
    print(f"{'children':<10} {others:8.1f} s (labels, test set, LAMMPS)")
    part = 100 * driver / (own + others)
    print(f"{'driver':<10} {driver:8.1f} s of {own + others:.1f} s: {part:.2f}% ({wall:.0f} s wall)")


def memory(n_rounds: int) -> None:
    """Prints MB and objects."""
    import gc
    import sys
    import tempfile

    sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.loop
    from tests.loop.test_memory import after_each_round, resident

    numbers = count()

    def noted() -> tuple[int, int]:
        found, number = (resident(), len(gc.get_objects())), next(numbers)
        if number % 10 == 0:
            print(f"round {number:>4}: {found[0] / 1e6:.1f} MB, {found[1]} objects", flush=True)
        return found

    with tempfile.TemporaryDirectory() as name:
        after_each_round(Path(name), n_rounds, noted)


def main() -> None:
    """One or the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?")
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("changes", nargs="*", help="numbers to change, as key=value")
    parser.add_argument("--rounds", type=int, help="memory of a loop with stubs over so many rounds")
    options = parser.parse_args()
    if options.rounds:
        memory(options.rounds)
    else:
        overhead(options.config, options.directory, options.changes)


if __name__ == "__main__":
    main()
