"""What gpu.py measures, piece by piece: each returns plain numbers, and takes less than five minutes on one H200.

Seconds are on the clock, until the device is done; ratios are medians over interleaved rounds.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import systems
import torch
from ase import units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from roofline import counted_work, operator_cases
from timing import Run, add_peers, compare
from torch.profiler import ProfilerActivity, profile
from training import step_of

from mollifield import MollifieldCalculator, contract
from mollifield.artefact import Artefact
from mollifield.potential import evaluate_edges
from mollifield_train.data.batches import build_graphs, collate
from mollifield_train.data.frames import read_frames

COUPLED = {"messages": "coupled", "correlation": 1}
"""2 layers, l_max 2, 32 channels, as the bars were set for; the default is the preset `balanced`."""

Numbers = dict[str, float]


@dataclass(frozen=True)
class Bench:
    """Where it runs, and how large systems are: `tiny` tries the script itself."""

    device: str
    tiny: bool
    rounds: int
    nequip_python: str | None = None

    @property
    def is_gpu(self) -> bool:
        return self.device != "cpu"

    def wait(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def cells(self, full: int) -> int:
        """Of a silicon crystal with 8 `full`^3 atoms."""
        return 2 if self.tiny else full

    def timed(self, function: Callable[[], object]) -> Run:
        def run(n: int) -> float:
            self.wait()
            start = time.perf_counter()
            for _ in range(n):
                function()
            self.wait()
            return time.perf_counter() - start

        run(2)  # kernels are compiled, TorchScript specialises
        return run

    def medians(self, cases: dict[str, Run]) -> Numbers:
        times = compare(cases, self.rounds, 0.02 if self.tiny else 0.3)
        return {name: statistics.median(values) for name, values in times.items()}

    def edges(self, cells: int) -> tuple[torch.Tensor, ...]:
        return tuple(t.to(self.device) for t in systems.edges(systems.silicon(cells), "silicon"))

    def artefact(self, backend: str = "native", n_members: int = 1, splines: bool = True, settings=COUPLED) -> Artefact:
        return systems.artefact("silicon", backend, n_members, splines, settings, self.device)


def rates(bench: Bench) -> Numbers:
    """Copy rate of the card, read and written; GEMM in float32; to and from the host, pinned; bytes a second."""
    size = 2**20 if bench.tiny else 2**31
    source = torch.rand(size // 4, device=bench.device)
    target = torch.empty_like(source)
    host = torch.empty(min(size, 2**28) // 4, pin_memory=bench.is_gpu)
    part = source[: len(host)]
    n = 256 if bench.tiny else 8192
    a, b = torch.rand(2, n, n, device=bench.device)
    times = bench.medians(
        {
            "copy": bench.timed(lambda: target.copy_(source)),
            "up": bench.timed(lambda: part.copy_(host, non_blocking=True)),
            "down": bench.timed(lambda: host.copy_(part, non_blocking=True)),
            "gemm": bench.timed(lambda: a @ b),
        }
    )
    n_bytes = {"copy": 2 * size, "up": 4 * len(host), "down": 4 * len(host)}
    return {name: n_bytes[name] / times[name] for name in n_bytes} | {"gemm_flops": 2 * n**3 / times["gemm"]}


FIRST_CALL = """
import sys, time
from gpu_pieces import Bench, evaluate_edges
from mollifield import load_artefact
path, device = sys.argv[1:]
bench = Bench(device, True, 1)
frame = bench.edges(2)
start = time.perf_counter()
evaluate_edges(load_artefact(path, device, verify=False), *frame)
bench.wait()
print("seconds", time.perf_counter() - start)
"""


def first_call(bench: Bench) -> Numbers:
    """Seconds from reading a file to the first forces: kernels compiled, and those kept on disk; a process each."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        systems.write_model(Path(folder) / "model.pt", "silicon", settings=COUPLED)
        for name in ("compiled", "kept"):
            done = subprocess.run(
                [sys.executable, "-c", FIRST_CALL, f"{folder}/model.pt", bench.device],
                env=os.environ | {"XDG_CACHE_HOME": folder},
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                check=True,
            )
            found[name] = float(done.stdout.split("seconds")[1])
    return found


def inference(bench: Bench) -> Numbers:
    """µs/atom, energies and forces; edges lie on the device."""
    atoms = systems.silicon(bench.cells(12))
    frame = bench.edges(bench.cells(12))
    models = {
        "native": bench.artefact(),
        "native, radial network": bench.artefact(splines=False),
        "balanced": bench.artefact(settings={}),
        "e3nn": bench.artefact("e3nn", splines=False),
    }
    cases = {name: bench.timed(partial(evaluate_edges, model, *frame)) for name, model in models.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.extxyz"
        systems.write_frames(path, systems.labelled([atoms]))
        peers = [("NequIP", bench.nequip_python, "peer_nequip.py")]
        started = add_peers(cases, peers, ["inference", str(path), bench.device])
        times = bench.medians(cases)
        for peer in started:
            peer.close()
    found = {name: 1e6 * seconds / len(atoms) for name, seconds in times.items()}
    others = [name for name in ("e3nn", "NequIP") if name in found]
    return found | {f"{name} / native": found[name] / found["native"] for name in others} | {"atoms": len(atoms)}


def committee(bench: Bench) -> Numbers:
    """Of four members, over one."""
    frame = bench.edges(bench.cells(12))
    one, four = bench.artefact(), bench.artefact(n_members=4)
    times = bench.medians(
        {
            "one": bench.timed(partial(evaluate_edges, one, *frame)),
            "mean forces": bench.timed(partial(evaluate_edges, four, *frame)),
            "all forces": bench.timed(partial(evaluate_edges, four, *frame, members=True)),
        }
    )
    return {name: seconds / times["one"] for name, seconds in times.items() if name != "one"}


def training(bench: Bench) -> Numbers:
    """ms a step: silicon, 64 atoms, batches of 32."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.extxyz"
        n_frames = 2 if bench.tiny else 32
        systems.write_frames(path, systems.labelled([systems.silicon(2, seed) for seed in range(n_frames)]))
        batch = collate(build_graphs(read_frames(path), systems.SPECIES["silicon"], systems.R_MAX)).to(bench.device)
    cases = {
        "native": bench.timed(step_of("silicon", "native", batch, settings=COUPLED)),
        "e3nn": bench.timed(step_of("silicon", "e3nn", batch, settings=COUPLED)),
        "native, balanced": bench.timed(step_of("silicon", "native", batch)),
        "native, 4 members": bench.timed(step_of("silicon", "native", batch, 4, COUPLED)),
    }
    found = {name: 1e3 * seconds for name, seconds in bench.medians(cases).items()}
    return found | {"e3nn / native": found["e3nn"] / found["native"]}


def million(bench: Bench) -> Numbers:
    """A million atoms at once: µs/atom and bytes at the peak."""
    frame = bench.edges(bench.cells(50))
    model = bench.artefact()
    if bench.is_gpu:
        torch.cuda.reset_peak_memory_stats(bench.device)
    run = bench.timed(partial(evaluate_edges, model, *frame))
    seconds = min(run(1) for _ in range(3))
    peak = float(torch.cuda.max_memory_allocated(bench.device)) if bench.is_gpu else float("nan")
    return {"atoms": len(frame[2]), "µs/atom": 1e6 * seconds / len(frame[2]), "peak_bytes": peak}


def lammps(bench: Bench) -> Numbers:
    """A whole step over the bare evaluation of the same atoms; bytes that crossed."""
    from lammps import DECK, seconds_of  # of this folder

    from mollifield_lammps import lammps_boundary, run_lammps, write_data

    atoms, steps = systems.silicon(bench.cells(23)), 3 if bench.tiny else 40
    bare = bench.timed(partial(evaluate_edges, bench.artefact(), *bench.edges(bench.cells(23))))
    last = "compute w all pair mollifield\nthermo_style custom step c_w[*]\nrun 1\n"
    found: dict[str, list[float]] = {"pair / bare": [], "step / bare": []}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write_data(directory / "atoms.data", atoms, ["Si"])
        systems.write_model(directory / "model.pt", "silicon", settings=COUPLED)
        words = {"boundary": lammps_boundary(atoms), "species": "Si", "model": "model.pt", "fix": ""}
        deck = DECK.format(driver=f"device {bench.device}", steps=steps, **words)
        for _ in range(1 if bench.tiny else 3):
            before = bare(steps) / steps
            log = run_lammps(deck, directory).log.read_text()
            pair, step = (seconds / steps for seconds in seconds_of(log))
            both = 0.5 * (before + bare(steps) / steps)
            found["pair / bare"].append(pair / both)
            found["step / bare"].append(step / both)
        thermo = run_lammps(deck + last, directory).thermo
        crossed = {name: float(thermo[f"c_w[{k}]"][-1]) for k, name in ((8, "bytes up"), (10, "bytes down"))}
    return {name: statistics.median(values) for name, values in found.items()} | crossed | {"atoms": len(atoms)}


def agreement(bench: Bench) -> Numbers:
    """Largest difference of forces (eV/Å) and energies (eV/atom) from those of the CPU, over the tolerance."""
    found = {}
    atoms = systems.silicon(bench.cells(4))
    with tempfile.TemporaryDirectory() as folder:
        for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, contract.REFERENCE_TOLERANCE["float32"])):
            path = Path(folder) / "model.pt"
            systems.write_model(path, "silicon", settings=COUPLED, dtype=dtype)
            here, there = (MollifieldCalculator(path, device) for device in ("cpu", bench.device))
            answers = []
            for calculator in (here, there):
                copy = atoms.copy()
                copy.calc = calculator
                answers.append((copy.get_potential_energy() / len(copy), copy.get_forces()))
            (energy, forces), (energy_2, forces_2) = answers
            worst = max(abs(energy - energy_2), np.abs(forces - forces_2).max())
            name = str(dtype).removeprefix("torch.")
            found[f"{name} / tolerance"] = worst / (tolerance * (1.0 + np.abs(forces).max()))
            found[f"{name}, drift"] = drift(here, bench.tiny)
            found[f"{name}, drift there"] = drift(there, bench.tiny)
    return found


def drift(calculator: MollifieldCalculator, tiny: bool) -> float:
    """Largest change of the total energy along some dynamics, eV/atom."""
    atoms = systems.silicon(2)
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    energies = [atoms.get_total_energy()]
    for _ in range(2 if tiny else 20):
        dynamics.run(5 if tiny else 25)
        energies.append(atoms.get_total_energy())
    return float(np.abs(np.array(energies) - energies[0]).max() / len(atoms))


def roofline(bench: Bench) -> Numbers:
    """Of each operator: µs/atom, kB/atom as counted, and bytes a second."""
    cells = bench.cells(12)
    vectors, index, types = bench.edges(cells)
    vectors = vectors.float().unsqueeze(0)
    model = systems.potential("silicon", "native", settings=COUPLED).tabulated(512).to(bench.device)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    cases = operator_cases(model, vectors, index, types, bench.timed)
    work = counted_work(model, len(types), index.shape[1])
    found = {}
    for name, seconds in bench.medians(cases).items():
        found[f"{name}: µs/atom"] = 1e6 * seconds / len(types)
        found[f"{name}: kB/atom"] = 1e-3 * work[name].n_bytes / len(types)
        found[f"{name}: bytes/s"] = work[name].n_bytes / seconds
    return found


def where_time_goes(bench: Bench) -> Numbers:
    """Share of each kernel in an evaluation, the longest twelve; launches."""
    frame, model = bench.edges(bench.cells(12)), bench.artefact()
    bench.timed(partial(evaluate_edges, model, *frame))
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * bench.is_gpu
    with profile(activities=kinds) as seen:
        for _ in range(5):
            evaluate_edges(model, *frame)
        bench.wait()
    own = (lambda e: e.self_device_time_total) if bench.is_gpu else (lambda e: e.self_cpu_time_total)
    entries = sorted(seen.key_averages(), key=own, reverse=True)
    total = sum(map(own, entries))
    shares = {re.sub(r"\s+", " ", e.key)[:60]: own(e) / total for e in entries[:12]}
    return shares | {"calls": sum(e.count for e in entries) / 5}


PIECES: dict[str, Callable[[Bench], Numbers]] = {
    "rates": rates,
    "agreement": agreement,
    "first_call": first_call,
    "inference": inference,
    "committee": committee,
    "training": training,
    "million": million,
    "lammps": lammps,
    "roofline": roofline,
    "where_time_goes": where_time_goes,
}
