"""What an evaluation of an exported model costs."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mollifield import load_artefact
from mollifield.neighbours import find_edges
from mollifield.potential import evaluate_edges, types_of

from ..data.files import iterate_atoms

SECONDS = 1.0
"""Spent on a measurement at least, once the code is warm."""
_WARM, _AT_LEAST = 3, 5


def inference_cost(model: Path, frame: Path, device: str) -> float:
    """Microseconds an atom for energy and mean forces of the first frame in a file, neighbours at hand; a median.

    CPU time where the model runs on a CPU, which counts all threads and no waiting; else the time that passes.
    """
    call, n_atoms, on_cpu = evaluation(model, frame, device)
    return 1e6 * median_seconds(call, time.process_time if on_cpu else time.perf_counter) / n_atoms


def evaluation(model: Path, frame: Path, device: str = "cpu") -> tuple[Callable[[], None], int, bool]:
    """A call to be timed, of the first frame in a file; its number of atoms, and whether it runs on a CPU."""
    artefact, atoms = load_artefact(model, device), next(iterate_atoms(frame))
    edges = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, artefact.r_max)
    types = torch.from_numpy(types_of(atoms.get_chemical_symbols(), artefact.species))
    vectors, index = torch.from_numpy(edges.edge_vectors), torch.from_numpy(edges.edge_index)

    def call() -> None:
        evaluate_edges(artefact, vectors, index, types).forces.cpu()  # which waits for a GPU

    return call, len(atoms), artefact.device.type == "cpu"


def median_seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Of a call, when it has been made a few times."""
    for _ in range(_WARM):
        call()
    taken: list[float] = []
    while len(taken) < _AT_LEAST or sum(taken) < SECONDS:
        start = clock()
        call()
        taken.append(clock() - start)
    return float(np.median(taken))
