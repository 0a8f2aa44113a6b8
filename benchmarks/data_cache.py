"""What a cache of frames costs (`data.cache`): time to fill it and to open it, memory, frames a second.

    python benchmarks/data_cache.py --frames 20000 200000 --compare 10000 --folder runs/data_cache

Frames are ethanol with random displacements, labelled by harmonic bonds to its geometry at rest: labels cost nothing,
neighbour lists are real. Each phase is a process of its own, whose peak of resident memory counts. `cpu_s` are seconds
of the process and its workers. `compare`: frames a second with the cache over those in memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import molecule

BATCH = 5
"""Frames, as the default has it."""
STEPS = 600
"""Of the comparison, at most: a batch from memory and one from the cache by turns."""


def write_frames(path: Path, n_frames: int) -> None:
    """Frames one after the other, never all in memory."""
    rest = molecule("CH3CH2OH")
    rng = np.random.default_rng(0)
    rows = "".join(f"{symbol} %.8f %.8f %.8f %.8f %.8f %.8f\n" for symbol in rest.get_chemical_symbols())
    header = 'Properties=species:S:1:pos:R:3:forces:R:3 energy=%.8f pbc="F F F"\n'
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(n_frames):
            moved = rng.normal(scale=0.08, size=rest.positions.shape)
            values = np.concatenate([rest.positions + moved, -20.0 * moved], axis=1)
            energy = -4000.0 + 10.0 * float(np.square(moved).sum())
            file.write(f"{len(rest)}\n" + header % energy + rows % tuple(values.ravel()))


def config(frames: Path, cache: Path | None, workers: int, model: str = "fast", n_members: int = 1) -> Any:
    """Of a training on them."""
    from mollifield_train.config import TrainConfig, validated

    values = {
        "directory": str(frames.with_suffix(".run")),
        "data": {"train": str(frames), "cache": None if cache is None else str(cache), "cache_workers": workers},
        "model": model,
        "committee": {"n_members": n_members},
    }
    return validated(TrainConfig, values, "benchmark")


def phase_fill(frames: Path, cache: Path, workers: int) -> dict[str, float]:
    """The first start."""
    from mollifield_train.training.loading import read_data

    found = read_data(config(frames, cache, workers))
    return {"frames": len(found.training) + len(found.validation)}


def phase_open(frames: Path, cache: Path, workers: int) -> dict[str, float]:
    """Another start: all that a training does before its first step."""
    from mollifield_train.training.loading import load_data

    return {"frames": len(load_data(config(frames, cache, workers), progress=False).training)}


def phase_epoch(frames: Path, cache: Path, workers: int) -> dict[str, float]:
    """An epoch of batches after it."""
    from mollifield_train.training.loading import load_data

    data = load_data(config(frames, cache, workers), progress=False)
    return {"frames": sum(batch.n_frames for batch in batches(data.training))}


def phase_memory(frames: Path, cache: Path, workers: int) -> dict[str, float]:
    """The same without a cache."""
    from mollifield_train.training.loading import load_data

    data = load_data(config(frames, None, workers), progress=False)
    return {"frames": sum(batch.n_frames for batch in batches(data.training))}


def phase_start(frames: Path, cache: Path, workers: int) -> dict[str, float]:
    """Imports alone."""
    import mollifield_train.training.loading  # noqa: F401

    return {}


def batches(graphs: Any) -> Iterator[Any]:
    """As a training has them."""
    from torch.utils.data import DataLoader

    from mollifield_train.data.batches import SeededBatches, collate

    return iter(DataLoader(graphs, batch_sampler=SeededBatches(len(graphs), BATCH, 0), collate_fn=collate))


def phase_compare(frames: Path, cache: Path, workers: int, model: str = "fast", n_members: int = 1) -> dict[str, float]:
    """Microseconds a frame of batches alone and of training steps with them, from memory and from the cache."""
    from mollifield_train.predict import predict
    from mollifield_train.training.loading import load_data
    from mollifield_train.training.members import build_potential
    from mollifield_train.training.objective import Objective

    sets = {}
    for name, place in (("memory", None), ("cache", cache)):
        data = load_data(config(frames, place, workers, model), progress=False)
        sets[name] = data.training
    given = config(frames, None, workers, model)
    potential = build_potential(given, data.statistics, 0, n_members)
    objective = Objective(given.loss, data.statistics.force_scale, 0)

    def step(batch: Any) -> None:
        loss = objective.data_loss(predict(potential, batch, create_graph=True), batch)
        loss.sum().backward()

    def nothing(batch: Any) -> None:
        pass

    found: dict[str, float] = {}
    for what, work in (("batches", nothing), ("steps", step)):
        spent = {name: np.zeros(2) for name in sets}
        turns = {name: batches(graphs) for name, graphs in sets.items()}
        n_steps = min(STEPS, len(data.training) // BATCH)
        for _ in range(n_steps):
            for name, source in turns.items():
                started = np.array([time.process_time(), time.perf_counter()])
                work(next(source))
                spent[name] += np.array([time.process_time(), time.perf_counter()]) - started
        for k, clock in enumerate(("cpu", "wall")):
            for name in sets:
                found[f"{what}_{clock}_us_{name}"] = 1e6 * spent[name][k] / (n_steps * BATCH)
            found[f"{what}_{clock}_ratio"] = spent["memory"][k] / spent["cache"][k]
    return found


def phase_default(frames: Path, cache: Path, workers: int) -> dict[str, float]:
    """The same for the default model, a committee of four."""
    return phase_compare(frames, cache, workers, "balanced", 4)


PHASES = {name.removeprefix("phase_"): found for name, found in globals().items() if name.startswith("phase_")}


def in_process(phase: str, frames: Path, cache: Path, workers: int) -> dict[str, float]:
    """A phase in a process of its own, with its times and its peak of memory."""
    command = [
        sys.executable,
        __file__,
        "--phase",
        phase,
        "--folder",
        str(frames),
        str(cache),
        "--workers",
        str(workers),
    ]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]) | {"wall_s": time.perf_counter() - started}


def cpu_seconds() -> float:
    """Of this process and those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--compare", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, nargs="+", default=[Path("runs/data_cache")])
    parser.add_argument("--phase", choices=PHASES)
    options = parser.parse_args()
    if options.phase is not None:
        found = PHASES[options.phase](*options.folder, options.workers)
        peaks = [resource.getrusage(who).ru_maxrss / 1024.0 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        print(json.dumps(found | {"cpu_s": cpu_seconds(), "peak_MB": peaks[0], "peak_of_worker_MB": peaks[1]}))
        return
    folder = options.folder[0]
    folder.mkdir(parents=True, exist_ok=True)
    for n_frames in options.frames:
        path, cache = folder / f"{n_frames}.xyz", folder / f"{n_frames}.cache"
        if not path.exists():
            write_frames(path, n_frames)
        for phase in ("start", "fill", "open", "epoch"):
            show(n_frames, phase, in_process(phase, path, cache, options.workers))
        size = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
        print(f"{n_frames:8d} on disk {1e-6 * path.stat().st_size:.0f} MB of frames, {1e-6 * size:.0f} MB of cache")
    path, cache = folder / f"{options.compare}.xyz", folder / f"{options.compare}.cache"
    if not path.exists():
        write_frames(path, options.compare)
    for phase in ("memory", "fill", "compare", "default"):
        show(options.compare, phase, in_process(phase, path, cache, options.workers))


def show(n_frames: int, phase: str, found: dict[str, float]) -> None:
    """A line."""
    print(f"{n_frames:8d} {phase:8s}" + " ".join(f"{key} {value:.4g}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
