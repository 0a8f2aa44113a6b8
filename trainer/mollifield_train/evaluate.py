"""Compare a model with labels: errors of the committee's mean, of its members, and of its spread."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mollifield import load_artefact, uncertainty
from mollifield.artefact import Artefact, read_posterior, read_trained
from mollifield.potential import evaluate

from .data.batches import Graph, collate
from .data.frames import Frame, Reading, read_frames
from .metrics import FrameErrors
from .predict import predict, stress
from .progress import counted

if TYPE_CHECKING:  # whoever evaluates a file has no need of what models are made of
    from .model.protocol import Potential


def committee_errors(
    model: "Potential", graphs: Sequence[Graph], batch_size: int, device: torch.device | str
) -> list[FrameErrors]:
    """`each_error` of all of them."""
    return list(each_error(model, graphs, batch_size, device))


def each_error(
    model: "Potential", graphs: Sequence[Graph], batch_size: int, device: torch.device | str
) -> Iterator[FrameErrors]:
    """A model in training on graphs, one after the other; it is moved back to the CPU afterwards."""
    model.to(device)
    yield from _predicted(model, graphs, batch_size, device)
    model.cpu()


def evaluate_file(
    model_path: str | Path,
    frames: str | Path | Sequence[str | Path],
    device: str = "cpu",
    reading: Reading | None = None,
) -> list[FrameErrors]:
    """An exported model on the labelled frames of files; isolated atoms are left out.

    Frames count for the labels that they have. Raises ValueError as `load_artefact` and `read_frames` do, naming the
    frame.
    """
    return evaluate_frames(model_path, bound_frames(frames, reading), device)


def bound_frames(paths: str | Path | Sequence[str | Path], reading: Reading | None = None) -> list[Frame]:
    """Labelled frames of files, but for isolated atoms; raises ValueError as `read_frames` does, and for none."""
    found = [frame for frame in read_frames(paths, reading) if not frame.is_isolated_atom]
    if not found:
        raise ValueError(f"{paths}: only isolated atoms, nothing to evaluate")
    return found


def seen_frames(artefact: Artefact) -> set[str]:
    """Keys of the frames that a file says its members, or their posterior, have seen."""
    kept = (read_trained(artefact), "trained_on"), (read_posterior(artefact), "frames")
    return {key for found, name in kept if found is not None for key in found[0].get(name, ())}


def evaluate_frames(model_path: str | Path, frames: Sequence[Frame], device: str = "cpu") -> list[FrameErrors]:
    """An exported model on labelled frames; raises ValueError naming the frame that it cannot be evaluated on."""
    artefact = load_artefact(model_path, device)
    shown = counted(frames, f"evaluating {Path(model_path).name}", total=len(frames))
    return [_evaluate_frame(artefact, frame) for frame in shown]


def _predicted(
    model: "Potential", graphs: Sequence[Graph], batch_size: int, device: torch.device | str
) -> Iterator[FrameErrors]:
    for start in range(0, len(graphs), batch_size):
        batch = collate(graphs[start : start + batch_size]).to(device)
        prediction = predict(model, batch, virials=True)
        stresses = stress(prediction, batch).double().cpu().numpy()
        energies = prediction.energies.cpu().numpy()
        forces = torch.split(prediction.forces.double().cpu(), batch.n_atoms.tolist(), dim=1)
        for k, graph in enumerate(batch.graphs):
            labelled = graph.frame.stress is not None
            members = (energies[:, k], forces[k].numpy())
            yield FrameErrors(*members, stresses[:, k] if labelled else None, graph.frame, *_raw_spread(*members))


def _evaluate_frame(artefact: Artefact, frame: Frame) -> FrameErrors:
    try:
        found = evaluate(artefact, frame.symbols, frame.positions, frame.cell, frame.pbc, members=True)
    except ValueError as error:
        raise ValueError(f"{frame.origin}: {error}") from error
    stresses = None
    if frame.stress is not None:
        volume = abs(np.linalg.det(frame.cell))
        stresses = -found.virial.cpu().numpy() / volume
    members = (found.energies.cpu().numpy(), found.forces.cpu().numpy())
    if artefact.n_members == 1:
        return FrameErrors(*members, stresses, frame, None, None, *uncertainty.outside(artefact, found))
    stated = uncertainty.spread(artefact, found)
    variances = stated.forces_cov.diagonal(axis1=1, axis2=2)
    outside = uncertainty.outside(artefact, found, stated)
    return FrameErrors(*members, stresses, frame, stated.energy_std, variances, *outside)


def _raw_spread(energies: np.ndarray, forces: np.ndarray) -> tuple[float, np.ndarray] | tuple[None, None]:
    if len(energies) == 1:
        return None, None
    covariance = uncertainty.forces_covariance(forces)
    return float(uncertainty.energy_std(energies)), covariance.diagonal(axis1=1, axis2=2)
