"""One evaluation and one training step under each instruction set, for several numbers of channels.

    taskset -c 1 python benchmarks/instruction_sets.py [--channels 8 16 24 32 64] [--sets avx2 avx512 ...] [--rounds 11]

216 silicon atoms with splines, and a batch of 4 x 64 atoms in training; 2 layers, l_max 2, float32. Each set runs in a
process of its own, which MOLLIFIELD_ISA forces to it; rounds are interleaved, so the ratios are of one run. `default`
forces nothing. The figures are in docs/performance.md, and what `cpu/kernels.cpp` chooses by default follows them.
"""

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from peer import serve

DEFAULT = "default"


def measured(mode: str, n_channels: int):
    """What a process of one instruction set calls."""
    import systems
    import torch
    from training import step_of

    from mollifield.potential import evaluate_edges
    from mollifield_train.data.batches import build_graphs, collate
    from mollifield_train.data.frames import read_frames

    torch.set_num_threads(1)
    if mode == "inference":
        artefact = systems.artefact("silicon", settings={"n_channels": n_channels})
        return partial(evaluate_edges, artefact, *systems.edges(systems.silicon(3), "silicon"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.extxyz"
        systems.write_frames(path, systems.training_frames("silicon"))
        batch = collate(build_graphs(read_frames(path), systems.SPECIES["silicon"], systems.R_MAX))
    return step_of("silicon", "native", batch, settings={"n_channels": n_channels})


def main() -> None:
    """Print one table for each number of channels."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16, 24, 32, 64])
    parser.add_argument("--sets", nargs="+", default=["avx2", "avx512", DEFAULT])
    parser.add_argument("--modes", nargs="+", default=["inference", "training"], choices=["inference", "training"])
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    from timing import Peer, compare, environment, report

    print(environment())
    path = os.environ.get("PYTHONPATH", "")
    for mode in options.modes:
        for n_channels in options.channels:
            cases = {}
            for name in options.sets:
                forced = {} if name == DEFAULT else {"MOLLIFIELD_ISA": name}
                cases[name] = Peer(
                    sys.executable, Path(__file__).name, ["serve", mode, str(n_channels)], PYTHONPATH=path, **forced
                )
            times = compare(cases, options.rounds, 0.2)
            for case in cases.values():
                case.close()
            print(f"{mode}, {n_channels} channels")
            scale, unit = (1e6 / 216, "µs/atom") if mode == "inference" else (1e3, "ms/step")
            report(times, scale, unit, options.sets[:1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(measured(sys.argv[2], int(sys.argv[3])))
    else:
        main()
