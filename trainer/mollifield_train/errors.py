"""Errors of predictions, member by member, in meV/atom and meV/Å."""

import torch
from torch import Tensor

from .data.batches import Batch
from .predict import Prediction, stress

MILLI = 1000.0


class ErrorSums:
    """Running sums over batches; nothing is copied off the device before the end."""

    def __init__(self, n_members: int, device: torch.device | str = "cpu") -> None:
        zeros = torch.zeros(n_members, dtype=torch.float64, device=device)
        self._energy, self._forces = zeros.clone(), zeros.clone()
        self._stress, self._loss = zeros.clone(), zeros.clone()
        self._n_frames = self._n_components = self._n_stress = 0

    def add(self, prediction: Prediction, batch: Batch, losses: Tensor) -> None:
        """Take in a batch: its prediction and the members' losses [M]."""
        energy = (prediction.energies.detach() - batch.energies) / batch.n_atoms
        forces = prediction.forces.detach().double() - batch.forces
        self._energy += energy.square().sum(dim=1)
        self._forces += forces.square().sum(dim=(1, 2))
        self._loss += losses.detach() * batch.n_frames
        self._n_frames += batch.n_frames
        self._n_components += batch.forces.numel()
        n_stress = sum(graph.frame.stress is not None for graph in batch.graphs)
        if prediction.virials is not None and n_stress:
            deviation = stress(prediction, batch).detach().double() - batch.stress
            self._stress += deviation.square().mean(dim=(2, 3))[:, batch.has_stress].sum(dim=1)
            self._n_stress += n_stress

    def losses(self) -> Tensor:
        """Mean loss of a frame, [M]."""
        return self._loss / max(1, self._n_frames)

    def row(self, prefix: str) -> dict[str, float]:
        """Root mean squares over frames and members, with units in the names."""
        row = {
            f"{prefix}_loss": float(self.losses().mean()),
            f"{prefix}_energy_rmse_mev_per_atom": _rms(self._energy, self._n_frames),
            f"{prefix}_forces_rmse_mev_per_A": _rms(self._forces, self._n_components),
        }
        if self._n_stress:
            row[f"{prefix}_stress_rmse_mev_per_A3"] = _rms(self._stress, self._n_stress)
        return row


def _rms(sums: Tensor, count: int) -> float:
    return MILLI * float((sums.mean() / max(1, count)).sqrt())
