"""The loss of members that are readouts of one trunk: likelihoods of their mean and spread.

A member by itself is not compared with anything, so the loss is one number, errors are those of the mean, and the whole
model has one norm of its gradient and one best epoch. Forces of the mean take one backward pass, those of all heads one
each: these are asked for in some steps of the last part of a run, and where validation compares.
"""

from torch import Tensor

from ..config import LossConfig
from ..data.batches import Batch
from ..loss import likelihood
from ..predict import BatchPrediction, Evaluable, mean_of, predict
from ..uncertainty_config import HeadsConfig
from .objective import Objective
from .ranks import ALONE, Ranks


class HeadsObjective(Objective):
    """λ_F and λ_S terms of the mean over members, and likelihoods of energies and forces (`loss.likelihood`)."""

    def __init__(self, heads: HeadsConfig, config: LossConfig, force_scale: float, seed: int, ranks: Ranks = ALONE):
        super().__init__(config, force_scale, seed, ranks=ranks)
        self.heads = heads

    def energy_weight(self, progress: float) -> float:
        """None: energies are learnt by their likelihood."""
        return 0.0

    def evaluated(
        self,
        model: Evaluable,
        batch: Batch,
        weights: Tensor | None = None,
        progress: float = 1.0,
        step: int | None = None,
    ) -> tuple[BatchPrediction, Tensor]:
        """As `Objective.evaluated`, of the mean: M is 1."""
        heads = self.heads
        all_forces = step is None or (heads.forces > 0.0 and progress >= 1.0 - heads.last and step % heads.every == 0)
        virials = self.needs_virials(batch)
        found = predict(model, batch, create_graph=step is not None, virials=virials, mean=not all_forces)
        mean = mean_of(found)
        loss = self.data_loss(mean, batch, weights, progress)
        part = self._parts(batch)
        weights = batch.weights if batch.weights is None else batch.weights[None]
        energies = likelihood.energy_term(found.energies, batch.energies, batch.n_atoms, weights, batch.has_energy)
        loss = loss + energies * (part["energy"] * heads.energy)
        if not all_forces:
            return mean, loss
        forces = likelihood.force_term(
            found.forces, batch.forces, batch.frame_of_atom, batch.n_atoms, weights, batch.has_forces
        )
        return mean, loss + forces * (part["forces"] * heads.forces * (1 if step is None else heads.every))
