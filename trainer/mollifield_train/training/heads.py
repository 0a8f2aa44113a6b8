"""The loss of members that are readouts of one trunk: that of their mean, and likelihoods that teach their spread.

A member by itself is not compared with anything, so the loss is one number, errors are those of the mean, and the whole
model has one norm of its gradient and one best epoch. Forces of the mean take one backward pass, those of all heads one
each: these are asked for in some steps of the last part of a run, and where validation compares.
"""

from collections.abc import Sequence

from torch import Tensor

from ..config import LossConfig, TrainConfig
from ..data.batches import Batch
from ..loss import likelihood
from ..model.protocol import Potential
from ..predict import BatchPrediction, Evaluable, mean_of, predict
from ..uncertainty_config import HeadsConfig
from .denoiser import denoiser_of
from .loading import TrainingData
from .objective import Objective
from .ranks import ALONE, Ranks


class HeadsObjective(Objective):
    """λ terms of the mean over members, and with the same weights those of `loss.likelihood`."""

    def __init__(self, heads: HeadsConfig, config: LossConfig, force_scale: float, seed: int, ranks: Ranks = ALONE):
        super().__init__(config, force_scale, seed, ranks=ranks)
        self.heads = heads

    def evaluated(
        self,
        model: Evaluable,
        batch: Batch,
        weights: Tensor | None = None,
        progress: float = 1.0,
        step: int | None = None,
    ) -> tuple[BatchPrediction, Tensor]:
        """As `Objective.evaluated`, of the mean: M is 1. Validation adds the likelihoods themselves."""
        every_head = self._asks_every_head(progress, step)
        virials = self.needs_virials(batch)
        found = predict(model, batch, create_graph=step is not None, virials=virials, mean=not every_head)
        mean = mean_of(found)
        loss = self.data_loss(mean, batch, weights, progress)
        weights = batch.weights if batch.weights is None else batch.weights[None]
        power = 0 if step is None else self.power
        of_energy, of_forces = self._weights(progress, step)
        part = self._parts(batch)
        energies = likelihood.energy_term(
            found.energies, batch.energies, batch.n_atoms, weights, batch.has_energy, power
        )
        loss = loss + energies * (part["energy"] * of_energy)
        if not every_head:
            return mean, loss
        forces = likelihood.force_term(
            found.forces,
            batch.forces,
            batch.frame_of_atom,
            batch.n_atoms,
            weights,
            batch.has_forces,
            power,
            batch.forces_mask,
        )
        return mean, loss + forces * (part["forces"] * of_forces)

    def _asks_every_head(self, progress: float, step: int | None) -> bool:
        if self.config.forces == 0.0:
            return False
        return step is None or (progress >= 1.0 - self.heads.last and step % self.heads.every == 0)

    def _weights(self, progress: float, step: int | None) -> tuple[float, float]:
        """Of both likelihoods: 1 in validation; else those of the loss, of forces as often as a step has it."""
        if step is None:
            return 1.0, 1.0
        of_energy = self.energy_weight(progress) / self.units.energy**self.power
        return of_energy, self.heads.every * self.config.forces / self.units.force**self.power


def objective_of(
    config: TrainConfig, data: TrainingData, model: Potential, seeds: Sequence[int], ranks: Ranks
) -> Objective:
    """The loss of a fit of `model`, whose members have `seeds`."""
    scale = data.statistics.force_scale
    if config.heads is not None:
        return HeadsObjective(config.heads, config.loss, scale, config.seed, ranks)
    denoiser = denoiser_of(config.loss.mollifier, model, data.training, scale, seeds)
    return Objective(config.loss, scale, config.seed, data.training, denoiser, ranks)
