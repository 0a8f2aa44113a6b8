"""The loss of a run: its configured terms on a batch, one value for each member."""

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import LossConfig
from ..data.batches import Batch, Graph, collate
from ..loss import energy_force, lengths
from ..loss.kernels import Kernel
from ..loss.mollifier import mollified
from ..loss.mollifier.scene import Labels, Scene
from ..loss.mollifier.sections import FormConfig, PriorFormConfig
from ..loss.mollifier.weights import KERNELS, draw_frames, mollifier_term, scheduled_weight
from ..loss.surface import Displaced, Surface
from ..model.protocol import Potential
from ..predict import BatchPrediction, Evaluable, displaced_surface, predict, stress
from ..prior import make_prior
from ..prior.surface import PriorSurface
from .denoiser import Denoiser
from .ranks import ALONE, Ranks

VIRIAL_WEIGHT = 0.1
"""Weight of a squared virial an atom in (eV)² over that of a squared force component in (eV/Å)², with `stress: auto`.

Chosen on 60 frames of copper (EMT, one cell, displaced atoms; three seeds): against no stress term the error of the
stress is 21 to 46 times smaller and that of the forces by 1 to 22%; with 0.3 and 1 the forces of two seeds got worse
by more than a quarter. Then tried on silicon (AIMD, with strained frames, whose energies tell of stress): stress 1.7
to 2.9 times and pressure 2.2 to 3.5 times smaller, forces 1 to 9% worse.
"""

FINAL_PART = 0.3
"""Of a run, in which `final_energy` counts."""
FINAL_FACTOR = 100.0
"""Of `energy`, with `final_energy: auto`. Chosen on silicon and the acid of docs/accuracy.md, one seed each."""

LARGEST_SKIN = 0.2
"""Over the cutoff: a list of neighbours is then 1.7 times as long."""

_MOLLIFIER_STREAM = 1  # keeps its random numbers apart from the batch order's, which share the seed


Averaged = Callable[[Displaced], Displaced]
"""From the surface of the model as it is to that of its averaged weights."""


class Units(NamedTuple):
    """Units that the loss is computed in, in eV and Å; 1 each for physical units."""

    energy: float
    force: float
    length: float


def units_of(config: LossConfig, force_scale: float) -> Units:
    """`scaled`: forces in their scale F (eV/Å), lengths in length_scale ℓ (Å), energies in F ℓ.

    E' = (E - shifts)/(F ℓ), F' = F/F_scale, r' = r/ℓ, so that F' = -dE'/dr' still holds; σ is
    then read in units of ℓ, and stress in F_scale/ℓ². The shifts cancel in every residual.
    """
    if config.units == "physical":
        return Units(1.0, 1.0, 1.0)
    return Units(force_scale * config.length_scale, force_scale, config.length_scale)


def skin_of(config: LossConfig, r_max: float) -> float:
    """How far beyond `r_max` (Å) a list of neighbours holds for nearly all displacements of the mollifier, in Å.

    One atom moves by the kernel's reach, or two by that in opposite directions. More than `LARGEST_SKIN` would cost
    more than the searches that it saves.
    """
    term = config.mollifier
    if term is None or term.weight == 0.0:
        return 0.0
    reach = _kernel(term, units_of(config, 1.0)).reach
    return min(2.0 * reach if term.moves_all else reach, LARGEST_SKIN * r_max)


def _kernel(term: FormConfig, units: Units) -> Kernel:
    return KERNELS[term.kernel](term.width * units.length)


def _with_all_forces(batch: Batch) -> Tensor:
    """[B] bool: what the mollified term takes for labelled, which asks for the forces of all atoms."""
    whole = torch.tensor([graph.frame.forces_mask is None for graph in batch.graphs])
    return batch.has_forces & whole.to(batch.has_forces.device)


class Objective:
    """L = λ_E, λ_F, λ_S terms (`loss.energy_force`) + the mollified term (`loss.mollifier`)."""

    def __init__(
        self,
        config: LossConfig,
        force_scale: float,
        seed: int,
        training: Sequence[Graph] = (),
        denoiser: Denoiser | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """`training`: the frames to which a prior of the mollified term is fitted, where it is a fitted one.
        `denoiser`: the readout of the form `denoise`, whose weights are learnt with the model's. With several `ranks` a
        data loss is this rank's part of that of the whole batch."""
        self.config = config
        self._ranks = ranks
        self.denoiser = denoiser
        self._prior: PriorSurface | None = None
        if isinstance(config.mollifier, PriorFormConfig) and config.mollifier.prior is not None:
            self._prior = make_prior(config.mollifier.prior, training)
        self.units = units_of(config, force_scale)
        self.seed = seed

    @property
    def power(self) -> int:
        """Of an error in the data terms: 1 of lengths, 2 of squares."""
        return 1 if self.config.measure == "lengths" else 2

    def needs_virials(self, batch: Batch) -> bool:
        """Whether predictions of this batch must carry virials."""
        weight = self.config.forces if self.config.stress == "auto" else self.config.stress
        return weight > 0.0 and batch.count("stress") > 0

    def energy_weight(self, progress: float) -> float:
        """λ_E where the run has come so far, from 0 to 1."""
        config = self.config
        if config.final_energy is None or progress < 1.0 - FINAL_PART:
            return config.energy
        if config.final_energy != "auto":
            return config.final_energy
        return config.energy * (FINAL_FACTOR if config.measure == "squares" else 1.0)

    def evaluated(
        self,
        model: Evaluable,
        batch: Batch,
        weights: Tensor | None = None,
        progress: float = 1.0,
        step: int | None = None,
    ) -> tuple[BatchPrediction, Tensor]:
        """What a model says of a batch, and `data_loss` of it; in a `step` differentiable by the weights."""
        prediction = predict(model, batch, create_graph=step is not None, virials=self.needs_virials(batch))
        return prediction, self.data_loss(prediction, batch, weights, progress)

    def data_loss(
        self, prediction: BatchPrediction, batch: Batch, weights: Tensor | None = None, progress: float = 1.0
    ) -> Tensor:
        """λ_E, λ_F and λ_S terms, [M]; `weights` [M, B] are the members' bootstrap weights, times the frames' own.

        At the `progress` of the end, unless another is given: what validation compares must weigh alike throughout.
        """
        config, units = self.config, self.units
        energy_weight = self.energy_weight(progress)
        if batch.weights is not None:
            weights = batch.weights.expand(len(prediction.energies), -1) if weights is None else weights * batch.weights
        terms: ModuleType
        power = self.power
        if power == 1:
            terms = lengths
            loss = lengths.energy_term(prediction.energies, batch.energies, batch.n_atoms, weights, batch.has_energy)
        else:
            terms = energy_force
            loss = energy_force.energy_term(prediction.energies, batch.energies, weights, batch.has_energy)
        part = self._parts(batch)
        loss = loss * (part["energy"] * energy_weight / units.energy**power)
        forces = terms.force_term(
            prediction.forces,
            batch.forces,
            batch.frame_of_atom,
            batch.n_atoms,
            weights,
            batch.has_forces,
            batch.forces_mask,
        )
        loss = loss + forces * (part["forces"] * config.forces / units.force**power)
        if not self.needs_virials(batch):
            return loss
        predicted = stress(prediction, batch)
        if config.stress == "auto":
            volumes = batch.volumes / batch.n_atoms
            virials = terms.stress_term(predicted, batch.stress, batch.has_stress, weights, volumes)
            weight = VIRIAL_WEIGHT ** (power / 2) * config.forces / units.energy**power
            return loss + virials * (part["stress"] * weight)
        stresses = terms.stress_term(predicted, batch.stress, batch.has_stress, weights)
        return loss + stresses * (part["stress"] * config.stress * (units.length**2 / units.force) ** power)

    def _parts(self, batch: Batch) -> dict[str, float]:
        """This rank's part of the frames with a label, by which its means become parts of the whole batch's."""
        counts = self._ranks.counts(batch)
        return {label: batch.count(label) / max(1, n) for label, n in counts.labels.items()}

    @property
    def is_adaptive(self) -> bool:
        """Whether λ_M is found from gradients, which the loss knows nothing of."""
        return self.config.mollifier is not None and self.config.mollifier.share is not None

    @property
    def every(self) -> int:
        """The mollified term stands in every k-th step, k times."""
        return 1 if self.config.mollifier is None else self.config.mollifier.every

    def mollifier_weight(self, progress: float) -> float:
        """λ_M where the run has come so far, from 0 to 1, schedule included; with `share`, the share."""
        term = self.config.mollifier
        if term is None:
            return 0.0
        weight = term.weight if term.share is None else term.share
        return scheduled_weight(term.schedule, weight, progress, term.until)

    def mollifier_loss(
        self,
        model: Potential,
        batch: Batch,
        prediction: BatchPrediction,
        step: int,
        progress: float,
        weights: Tensor | None = None,
        average: Averaged | None = None,
    ) -> Tensor | None:
        """λ_M times the mollified term, [M], or None where this step has none; without λ_M where that is adaptive.

        `weights` [M, B] are the members' bootstrap weights, which count where the form learns labels. `average` makes
        of a surface that of the averaged weights. Random numbers depend on seed and step alone, so a resumed
        run repeats them.
        """
        term = self.config.mollifier
        weight = self.mollifier_weight(progress)
        if term is None or weight == 0.0 or step % term.every:
            return None
        rng = np.random.default_rng([self.seed, _MOLLIFIER_STREAM, step])
        chosen = draw_frames(batch.n_frames, term.fraction, rng)
        at_rest = -prediction.forces
        if len(chosen) < batch.n_frames:
            kept = torch.isin(batch.frame_of_atom, torch.from_numpy(chosen).to(batch.types.device))
            at_rest = at_rest[:, kept]
            batch = collate([batch.graphs[k] for k in chosen]).to(batch.types.device)
        per_frame = mollified(term, self._scene(term, model, batch, at_rest, rng, average))
        if weights is not None and term.learns_labels:
            per_frame = per_frame * weights[:, torch.from_numpy(chosen).to(weights.device)]
        total = mollifier_term(per_frame, batch.n_atoms, term.sums)
        scale = 1.0 if self.is_adaptive else weight * term.every
        return total * (scale / self.units.force**2)

    def _scene(
        self,
        term: FormConfig,
        model: Potential,
        batch: Batch,
        at_rest: Tensor,
        rng: np.random.Generator,
        average: Averaged | None,
    ) -> Scene:
        prior, denoiser = self._prior, self.denoiser
        return Scene(
            n_atoms=batch.n_atoms,
            model=displaced_surface(model, batch),
            at_rest=at_rest,
            labels=Labels(batch.energies, batch.has_energy, -batch.forces, _with_all_forces(batch)),
            kernel=_kernel(term, self.units),
            rng=rng,
            prior=None if prior is None else lambda s: Surface(*prior.displaced(batch.graphs, s)),
            average=None if average is None else average(displaced_surface(model, batch, create_graph=False)),
            denoised=None if denoiser is None else partial(denoiser, model, batch),
            length=self.units.length,
            force=self.units.force,
        )
