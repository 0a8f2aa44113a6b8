"""Compare a model with labels: errors of the committee's mean, of its members, and of its spread."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mollifield import load_artefact, uncertainty
from mollifield.artefact import Artefact
from mollifield.potential import evaluate

from . import parity
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
    """A model in training on graphs; it is moved back to the CPU afterwards."""
    model.to(device)
    predicted = list(_predicted(model, graphs, batch_size, device))
    model.cpu()
    return predicted


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
    artefact = load_artefact(model_path, device)
    found = [frame for frame in read_frames(frames, reading) if not frame.is_isolated_atom]
    if not found:
        raise ValueError(f"{frames}: only isolated atoms, nothing to evaluate")
    return [_evaluate_frame(artefact, frame) for frame in counted(found, "evaluating", total=len(found))]


def parity_plot(frames: Sequence[FrameErrors], path: str | Path) -> None:
    """Predicted against labelled energies and forces, and force error against committee spread.

    Raises ValueError where no frame has an energy, or none has forces.
    """
    from matplotlib.figure import Figure

    labelled = [(f.frame.forces.ravel(), f) for f in frames if f.frame.forces is not None]
    with_energy = [f for f in frames if f.frame.energy is not None]
    if not with_energy or not labelled:
        raise ValueError("a parity plot needs frames with energies, and frames with forces")
    n_atoms = np.array([len(f.frame.numbers) for f in with_energy])
    energies = np.array([f.frame.energy for f in with_energy]) / n_atoms
    predicted = np.array([f.energies.mean() for f in with_energy]) / n_atoms
    forces = np.concatenate([label for label, _ in labelled])
    mean_forces = np.concatenate([f.forces.mean(axis=0).ravel() for _, f in labelled])
    many = len(frames[0].energies) > 1
    figure = Figure(figsize=(12 if many else 8, 4), layout="constrained")
    axes = figure.subplots(1, 3 if many else 2)
    zero = energies.mean()
    _parity(axes[0], energies - zero, predicted - zero, "energy, relative to its mean (eV/atom)")
    _parity(axes[1], forces, mean_forces, "force component (eV/Å)")
    variances = [f.forces_variance.ravel() for _, f in labelled if f.forces_variance is not None]
    if many:
        std = np.sqrt(np.concatenate(variances))
        axes[2].loglog(std, np.abs(mean_forces - forces) + 1e-6, ".", markersize=1)
        axes[2].set_xlabel("committee std (eV/Å)")
        axes[2].set_ylabel("error (eV/Å)")
    figure.savefig(path, dpi=150)


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
        return FrameErrors(*members, stresses, frame)
    stated = uncertainty.spread(artefact, found)
    return FrameErrors(*members, stresses, frame, stated.energy_std, stated.forces_cov.diagonal(axis1=1, axis2=2))


def _raw_spread(energies: np.ndarray, forces: np.ndarray) -> tuple[float, np.ndarray] | tuple[None, None]:
    if len(energies) == 1:
        return None, None
    covariance = uncertainty.forces_covariance(forces)
    return float(uncertainty.energy_std(energies)), covariance.diagonal(axis1=1, axis2=2)


def _parity(axes: Any, reference: np.ndarray, predicted: np.ndarray, label: str) -> None:
    parity.draw(axes, reference, predicted)
    axes.set_xlabel(f"reference {label}")
    axes.set_ylabel(f"predicted {label}")
