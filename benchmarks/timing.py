"""Times on one core, A against B in one run: interleaved rounds, medians, ratios round by round.

What is measured is the CPU time of the process. Its work runs in one thread, so on an idle core this is
the wall time; on a shared machine it leaves out the moments in which the thread did not run.

Freed memory is kept, in every program. By default glibc hands large blocks back to the system and faults them in
anew, or does not, depending on what ran before in the process: for the e3nn path that is 250 or 390 µs an atom.
"""

import argparse
import contextlib
import ctypes
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere

KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}
"""glibc's settings as variables, for programs that are started here."""

TICK = os.sysconf("SC_CLK_TCK")

Run = Callable[[int], float]
"""Runs a case n times; returns seconds for all of them."""


def local(function: Callable[[], object]) -> Run:
    """A case that runs in this process."""

    def run(n: int) -> float:
        start = time.process_time()
        for _ in range(n):
            function()
        return time.process_time() - start

    return run


def keep_memory() -> None:
    """The same for this process; without glibc, nothing is changed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in [(-4, 0), (-1, 2**31 - 1), (-2, 2**26)]:  # as in KEEP_MEMORY
            mallopt(parameter, value)


def compare(cases: dict[str, Run], rounds: int = 15, seconds: float = 0.4) -> dict[str, list[float]]:
    """Seconds a call of each case, one value a round; every round runs all cases, in turning order."""
    keep_memory()
    repeats = {}
    for name, run in cases.items():
        run(6)  # TorchScript specialises in its first calls
        repeats[name] = max(1, math.ceil(seconds / max(run(1), 1e-6)))
    names = list(cases)
    times: dict[str, list[float]] = {name: [] for name in names}
    for k in range(rounds):
        shift = k % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(cases[name](repeats[name]) / repeats[name])
    return times


def ratio(times: dict[str, list[float]], name: str, reference: str) -> float:
    """Median over rounds of time(name) / time(reference)."""
    return statistics.median(a / b for a, b in zip(times[name], times[reference], strict=True))


def report(times: dict[str, list[float]], scale: float, unit: str, references: Sequence[str] = ()) -> None:
    """Print median and quartiles of `scale` * seconds, and how often each reference's time it takes."""
    heads = "".join(f"{'/ ' + reference:>20}" for reference in references)
    print(f"{'':<34}{unit:>10}{'quartiles':>18}{heads}")
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        ratios = "".join(f"{ratio(times, name, reference):20.3f}" for reference in references)
        print(f"{name:<34}{scale * middle:10.4g}{scale * low:9.4g}{scale * high:9.4g}{ratios}", flush=True)


def environment() -> str:
    """One line: processor, threads, versions, load of the machine."""
    import torch

    from mollifield.native import has_native

    torch.set_num_threads(1)
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((l.split(":")[1].strip() for l in lines if l.startswith("model name")), processor)
    sets = torch.backends.cpu.get_cpu_capability()
    return (
        f"{processor} ({sets}), 1 thread of {os.cpu_count()} cores, torch {torch.__version__}, "
        f"native {has_native()}, load {os.getloadavg()[0]:.1f}"
    )


class Peer:
    """Another program's case, in another environment: a script that answers a count with seconds.

    The script prints `ready`, then for each line n of its input `seconds <s>` for n runs, measured
    as `local` does. `variables` of the environment come on top of this process's, which lack PYTHONPATH. Raises
    `RuntimeError` with its last words when it ends before.
    """

    def __init__(self, python: str, script: str, arguments: Sequence[str], **variables: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process)
        path = Path(__file__).with_name(script)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | KEEP_MEMORY | variables
        self._process = subprocess.Popen(
            [python, str(path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        try:
            self._answer("ready")
        except RuntimeError:
            self.close()
            raise

    def __call__(self, n: int) -> float:
        self._process.stdin.write(f"{n}\n")
        self._process.stdin.flush()
        return float(self._answer("seconds").split()[1])

    def _answer(self, word: str) -> str:
        for line in self._process.stdout:
            if line.startswith(word):
                return line
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines()
        raise RuntimeError(words[-1] if words else "it ended without a word")

    def close(self) -> None:
        """End the script."""
        self._process.stdin.close()
        self._process.wait()


def silicon_parser(description: str) -> argparse.ArgumentParser:
    """Options of a script that looks at a silicon crystal."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--cells", type=int, default=3, help="unit cells along each axis")
    parser.add_argument("--rounds", type=int, default=15)
    return parser


def cpu_of_children() -> dict[tuple[str, int], float]:
    """CPU seconds of each child process that lives, by its name and number."""
    found = {}
    for process in multiprocessing.active_children():
        with contextlib.suppress(OSError):  # it has just ended
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            found[process.name, process.pid or 0] = (int(fields[11]) + int(fields[12])) / TICK
    return found


def peer_parser(description: str, rounds: int, peers: Sequence[str] = ("nequip", "mace")) -> argparse.ArgumentParser:
    """Options of a benchmark that has peers in environments of their own."""
    parser = argparse.ArgumentParser(description=description)
    for name in peers:
        parser.add_argument(f"--{name}-python", help=f"python of an environment with {name}")
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def compare_with_peers(
    cases: dict[str, Run], options: argparse.Namespace, names: tuple[str, str], arguments: Sequence[str]
) -> dict[str, list[float]]:
    """`compare`, with NequIP and MACE among the cases under these `names`, where they have a python."""
    peers = [(names[0], options.nequip_python, "peer_nequip.py"), (names[1], options.mace_python, "peer_mace.py")]
    started = add_peers(cases, peers, arguments)
    times = compare(cases, options.rounds)
    for peer in started:
        peer.close()
    return times


def add_peers(
    cases: dict[str, Run], peers: Sequence[tuple[str, str | None, str]], arguments: Sequence[str]
) -> list[Peer]:
    """Start those (name, python, script) that have a python; one that fails is named and left out."""
    started = []
    for name, python, script in peers:
        if python is None:
            continue
        try:
            cases[name] = Peer(python, script, arguments)
            started.append(cases[name])
        except RuntimeError as error:
            print(f"{name}: not measured: {error}", file=sys.stderr)
    return started
