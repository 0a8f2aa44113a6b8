"""Errors of an epoch, batch by batch."""

import torch
from torch import Tensor

from ..data.batches import Batch
from ..metrics import MILLI, UNITS, energy_deviations, key_of
from ..predict import BatchPrediction, stress
from .ranks import ALONE, Ranks


class ErrorSums:
    """Running sums over batches, of the labels that there are; nothing is copied off the device before the end."""

    def __init__(self, n_members: int, device: torch.device | str = "cpu", ranks: Ranks = ALONE) -> None:
        """`ranks`: each adds its part of every batch; `add_up` gives all of them the sums of all."""
        self._ranks = ranks
        zeros = torch.zeros(n_members, dtype=torch.float64, device=device)
        self._squares = {quantity: zeros.clone() for quantity in UNITS}
        self._counts = dict.fromkeys(UNITS, 0)
        self._loss, self._n_frames = zeros, 0

    def add(self, prediction: BatchPrediction, batch: Batch, losses: Tensor) -> None:
        """Take in a batch: its prediction and the members' losses [M]."""
        energy = energy_deviations(prediction.energies.detach(), batch.energies, batch.n_atoms)
        forces = prediction.forces.detach().double() - batch.forces
        has_forces = batch.has_forces[batch.frame_of_atom]
        if batch.forces_mask is not None:
            has_forces = has_forces & batch.forces_mask
        self._squares["energy"] += (energy.square() * batch.has_energy).sum(dim=1)
        self._squares["forces"] += (forces.square().sum(dim=2) * has_forces).sum(dim=1)
        n_frames = self._ranks.counts(batch).frames
        self._loss += losses.detach() * n_frames
        self._n_frames += n_frames
        self._counts["energy"] += batch.count("energy")
        self._counts["forces"] += sum(
            3 * len(g.frame.labelled_atoms) for g in batch.graphs if g.frame.forces is not None
        )
        n_stress = batch.count("stress")
        if prediction.virials is not None and n_stress:
            deviation = stress(prediction, batch).detach().double() - batch.stress
            self._squares["stress"] += (deviation.square().mean(dim=(2, 3)) * batch.has_stress).sum(dim=1)
            self._counts["stress"] += n_stress

    def add_up(self) -> None:
        """At the end: the sums of all ranks."""
        counts = torch.tensor(list(self._counts.values()), dtype=torch.float64, device=self._loss.device)
        self._ranks.add_up([self._loss, counts, *self._squares.values()])
        self._counts = dict(zip(UNITS, map(int, counts.tolist()), strict=True))

    def losses(self) -> Tensor:
        """Mean loss of a frame, [M]."""
        return self._loss / max(1, self._n_frames)

    def row(self, prefix: str) -> dict[str, float]:
        """Root mean squares over frames and members, with units in the names; labels that are missing have none."""
        row = {f"{prefix}_loss": float(self.losses().mean())}
        for quantity, squares in self._squares.items():
            if self._counts[quantity]:
                mean = squares.mean() / self._counts[quantity]
                row[f"{prefix}_{key_of(quantity, 'rmse')}"] = MILLI * float(mean.sqrt())
        return row
