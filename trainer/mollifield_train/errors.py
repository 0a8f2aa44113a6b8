"""Errors of predictions, member by member, in meV/atom and meV/Å."""

import torch
from torch import Tensor

from .data.batches import Batch
from .predict import BatchPrediction, stress

MILLI = 1000.0


class ErrorSums:
    """Running sums over batches, of the labels that there are; nothing is copied off the device before the end."""

    def __init__(self, n_members: int, device: torch.device | str = "cpu") -> None:
        zeros = torch.zeros(n_members, dtype=torch.float64, device=device)
        self._energy, self._forces = zeros.clone(), zeros.clone()
        self._stress, self._loss = zeros.clone(), zeros.clone()
        self._n_frames = self._n_energies = self._n_components = self._n_stress = 0

    def add(self, prediction: BatchPrediction, batch: Batch, losses: Tensor) -> None:
        """Take in a batch: its prediction and the members' losses [M]."""
        energy = (prediction.energies.detach() - batch.energies) / batch.n_atoms
        forces = prediction.forces.detach().double() - batch.forces
        has_forces = batch.has_forces[batch.frame_of_atom]
        self._energy += (energy.square() * batch.has_energy).sum(dim=1)
        self._forces += (forces.square().sum(dim=2) * has_forces).sum(dim=1)
        self._loss += losses.detach() * batch.n_frames
        self._n_frames += batch.n_frames
        self._n_energies += batch.count("energy")
        self._n_components += sum(3 * g.n_atoms for g in batch.graphs if g.frame.forces is not None)
        n_stress = batch.count("stress")
        if prediction.virials is not None and n_stress:
            deviation = stress(prediction, batch).detach().double() - batch.stress
            self._stress += (deviation.square().mean(dim=(2, 3)) * batch.has_stress).sum(dim=1)
            self._n_stress += n_stress

    def losses(self) -> Tensor:
        """Mean loss of a frame, [M]."""
        return self._loss / max(1, self._n_frames)

    def row(self, prefix: str) -> dict[str, float]:
        """Root mean squares over frames and members, with units in the names; labels that are missing have none."""
        row = {f"{prefix}_loss": float(self.losses().mean())}
        for name, sums, count in (
            ("energy_rmse_mev_per_atom", self._energy, self._n_energies),
            ("forces_rmse_mev_per_A", self._forces, self._n_components),
            ("stress_rmse_mev_per_A3", self._stress, self._n_stress),
        ):
            if count:
                row[f"{prefix}_{name}"] = MILLI * float((sums.mean() / count).sqrt())
        return row
