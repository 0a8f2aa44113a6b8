"""One fit on Lightning: the members of one model, in one vectorised pass.

Every parameter has a leading member dimension and the loss is summed over members, so each member
gets exactly the gradient it would get alone; clipping, moving average and best weights are kept
member by member too. All randomness is a function of seed, epoch and step, so that a run continued
from the checkpoint of an epoch's end repeats the uninterrupted one.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from ..config import OptimiserConfig, TrainConfig
from ..data.batches import Batch, Graph, SeededBatches, SharedBatches
from ..data.graph_sets import graph_set
from ..model.protocol import Potential
from ..model.samples import load_member_state, member_state
from ..predict import BatchPrediction, Evaluable, first_frames
from .beside import Beside, Corrected, beside_of
from .dropout import Dropout
from .error_sums import ErrorSums
from .finite import FiniteLosses
from .frame_weights import frame_weights
from .heads import objective_of
from .loading import TrainingData
from .member_gradients import Ascent, Balance, balanced_gradients, clip_members
from .members import pack
from .objective import Objective
from .optimisers import optimiser_of
from .ranks import ALONE, Ranks, batch_loader
from .run_directory import Checkpoint, FitFolder, Row
from .schedules import PATIENT_ABOVE, BestMembers, MovingAverage, Plateau, between, cosine_rate
from .trainer import one_device_trainer

VALID_BATCH = 4  # validation keeps no graph of gradients, so its batches may be this many times larger


class CommitteeFit(lightning.LightningModule):
    """Trains a `Potential`, and keeps each epoch in a folder."""

    frame_weights: Tensor | None

    def __init__(
        self,
        model: Potential,
        objective: Objective,
        optimiser: OptimiserConfig,
        training: Sequence[Graph],
        validation: Sequence[Graph],
        seed: int,
        frame_weights: Tensor | None = None,
        folder: FitFolder | None = None,
        seconds: float | None = None,
        beside: Beside | None = None,
        ranks: Ranks = ALONE,
        dropout: Dropout | None = None,
    ) -> None:
        """`frame_weights` [M, frames] are the members' bootstrap weights; None means 1. Without `folder` nothing is
        written; a checkpoint in it is where the fit goes on. It ends after `seconds`, or with the last epoch. Frames
        `beside` the training's share their batches, have columns in `frame_weights` too, and no part in errors. Of
        several `ranks`, which have `objective` too, the first one writes. With `dropout` every step has masks."""
        super().__init__()
        self.model = model
        self.objective = objective
        self.settings = optimiser
        self.n_given = len(training)
        self.training_sets = [training] if beside is None else [training, beside.graphs]
        self.validation_graphs = validation
        by_edges = graph_set(training).n_edges.tolist() if optimiser.batch_by == "edges" else None
        share = 0 if beside is None else beside.share
        order = SeededBatches(len(training), optimiser.batch_size - share, seed, by_edges)
        self.order = order if beside is None else SharedBatches(order, beside.batches(seed))
        self.correction = None if beside is None else beside.correction
        auxiliary = {"correction": self.correction, "denoiser": objective.denoiser}
        self.readouts = torch.nn.ModuleDict({name: found for name, found in auxiliary.items() if found is not None})
        self.folder = folder
        self.seconds = seconds
        self.ranks = ranks
        self.clock = ranks.clock(0.0)
        self.finite = FiniteLosses(ranks)
        self.register_buffer("frame_weights", frame_weights, persistent=False)
        self.finished_epochs = 0
        self.steps = 0
        self.history: list[Row] = []
        self.dropout = dropout
        self.n_apart = model.architecture.n_trunks  # losses, which members on one trunk have in common
        self.best = BestMembers(self._weights(), self.n_apart)
        self.plateau = Plateau(optimiser.patience // 3)
        self.average: MovingAverage | None = None
        self.balance = Balance(model.n_members)
        self._apart: tuple[Tensor, Tensor] | None = None
        self._ascent: Ascent | None = None
        self._resumed: Checkpoint | None = None
        self._n_batches = len(self.order)
        if folder is not None and folder.checkpoint is not None:
            self._resume(folder.checkpoint)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """With the state of the checkpoint if there is one; the model is on its device now."""
        if self.settings.ema_decay > 0.0:
            self.average = MovingAverage(self._weights(), self.settings.ema_decay)
        optimiser = optimiser_of(self.settings, self.model, list(self.parameters()))
        if self._resumed is not None:
            optimiser.load_state_dict(self._resumed["optimiser"])
            if self.average is not None:
                self.average.load(self._resumed["average"])
        return optimiser

    def train_dataloader(self) -> DataLoader[Graph]:
        """Batches in an order that depends on seed and epoch."""
        return batch_loader(self.training_sets, self.order, self.ranks, pinned=self.device.type == "cuda")

    def val_dataloader(self) -> DataLoader[Graph]:
        """Validation frames in file order."""
        n_frames, size = len(self.validation_graphs), VALID_BATCH * self.settings.batch_size
        in_order = BatchSampler(range(n_frames), size, drop_last=False)
        return batch_loader([self.validation_graphs], in_order, self.ranks, pinned=self.device.type == "cuda")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """From pinned memory, so that the next batch is made and sent while the device works on this one."""
        return batch.to(device, non_blocking=True)

    def on_train_start(self) -> None:
        """The time that counts begins."""
        self.clock.start()

    def on_train_epoch_start(self) -> None:
        """Clear the sums of the epoch's errors."""
        self._started = time.perf_counter()
        self._train_errors = ErrorSums(self.n_apart, self.device, self.ranks)
        self._mollifier_sum = torch.zeros(self.n_apart, dtype=torch.float64, device=self.device)
        self._valid_errors = ErrorSums(self.n_apart, self.device, self.ranks)
        self._validated = False

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """The learning rate is a function of the step, so there is no scheduler to restore."""
        self.clock.agree()
        rate = self.learning_rate
        for group in self._optimiser().param_groups:
            group["lr"] = rate

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss summed over members; raises ValueError where it is not finite."""
        weights = None if self.frame_weights is None else self.frame_weights[:, batch.index]
        prediction, losses = self._predicted(batch, weights)
        given, own, own_weights = self._given(prediction, batch, weights)
        own_losses = losses if own is batch else self.objective.data_loss(given, own, own_weights, self.progress)
        self._train_errors.add(given, own, own_losses.detach())
        if self.settings.sam is not None:
            self._ascent = Ascent(list(self.parameters()), losses.sum(), self.settings.sam, self.ranks, self.n_apart)
            prediction, losses = self._predicted(batch, weights)
            given, own, own_weights = self._given(prediction, batch, weights)
        # With the averaged weights in the model for as long as their surface is computed.
        average = None if self.average is None else partial(between, self._swap_average)
        term = self.objective.mollifier_loss(self.model, own, given, self.steps, self.progress, own_weights, average)
        self._apart = None if term is None or not self.objective.is_adaptive else (losses, term)
        if term is not None:
            losses = losses + term
            self._mollifier_sum += term.detach() * (self._apart is None)  # else once its weight is known
        self._step = losses.detach(), batch
        return losses.sum()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Gradients of the step; where the weight of the mollified term is adaptive, this is where it is found."""
        parameters = list(self.parameters())
        if self._apart is None:  # by weights alone: edge vectors are leaves as well, whose gradient nobody reads
            loss.backward(*args, **kwargs | {"inputs": parameters})
            return
        losses, term = self._apart
        share = self.objective.mollifier_weight(self.progress) * self.objective.every
        found = balanced_gradients(parameters, losses.sum(), term.sum(), share, self.balance)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        self._mollifier_sum += share * self.balance.ratio().to(term.device) * term.detach()
        self._apart = None

    def on_after_backward(self) -> None:
        """The whole batch's gradient, of a loss that must be finite; back from where it was taken, if elsewhere."""
        losses, batch = self._step
        losses = self.ranks.add_up_gradients(list(self.parameters()), losses)
        self.finite.add(losses, batch, f"epoch {self.finished_epochs + 1}, step {self.steps}")
        if self._ascent is not None:
            self._ascent.undo()
            self._ascent = None

    def _predicted(self, batch: Batch, weights: Tensor | None) -> tuple[BatchPrediction, Tensor]:
        """And the data terms of the loss, [M]."""
        return self.objective.evaluated(self._model_of(batch), batch, weights, self.progress, self.steps)

    def _given(
        self, prediction: BatchPrediction, batch: Batch, weights: Tensor | None
    ) -> tuple[BatchPrediction, Batch, Tensor | None]:
        """Of the frames with the given labels alone, which are the first of a batch."""
        if self.correction is None:
            return prediction, batch, weights
        n_given = sum(graph.index < self.n_given for graph in batch.graphs)
        return *first_frames(prediction, batch, n_given), None if weights is None else weights[:, :n_given]

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of each member's gradient by itself."""
        if self.settings.gradient_clip is not None:
            clip_members(self.parameters(), self.settings.gradient_clip, self.n_apart)

    def on_train_batch_end(self, *_: Any) -> None:
        """The step is done: take it into the average."""
        self.steps += 1
        if self.seconds is not None and self.progress >= 1.0:
            self.trainer.should_stop = True
        if self.average is not None:
            self.average.update(self._weights())

    def on_validation_epoch_start(self) -> None:
        """Validate the averaged weights."""
        self.finite.require_all()
        self._swap_average()
        self._validated = True

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch's errors; forces need gradients of the geometry, not of the weights."""
        prediction, losses = self.objective.evaluated(self.model, batch)
        self._valid_errors.add(prediction, batch, losses)

    def on_validation_epoch_end(self) -> None:
        """Keep each member's best weights, then go back to the raw ones."""
        falling = self.settings.schedule == "cosine"
        patient = falling and self.learning_rate > PATIENT_ABOVE * self.settings.learning_rate
        self._valid_errors.add_up()
        self.best.update(self._valid_errors.losses(), self._weights(), patient)
        self.plateau.update(float(self._valid_errors.losses().mean()))
        self._swap_average()

    def on_train_epoch_end(self) -> None:
        """Close the epoch: history, patience, checkpoint."""
        self.finite.require_all()
        if not self._validated:
            self._swap_average()
            self.best.update(torch.full_like(self.best.losses, -self.finished_epochs), self._weights())
            self._swap_average()
        self.clock.agree()
        self._train_errors.add_up()
        self.finished_epochs += 1
        self.history.append(self._row())
        for logger in self.loggers:
            logger.log_metrics(self.history[-1], step=self.finished_epochs)
        if self.out_of_patience:
            self.trainer.should_stop = True
        if self.folder is not None and self.ranks.is_first:
            self.folder.keep_epoch(self.checkpoint(), self.history)

    @property
    def progress(self) -> float:
        """From 0 to 1: how much of the run's epochs, or of its minutes, is over."""
        if self.seconds is None:
            return self.steps / (self.settings.epochs * self._n_batches)
        return self.clock.seconds / self.seconds

    @property
    def learning_rate(self) -> float:
        """At the current step."""
        initial = self.settings.learning_rate
        match self.settings.schedule:
            case "cosine":
                return cosine_rate(initial, self.progress)
            case "plateau":
                return initial * self.plateau.factor
        return initial

    @property
    def is_over(self) -> bool:
        """No epoch or second is left to train, or no patience."""
        return self.progress >= 1.0 or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        """No member has improved for `patience` epochs, of those that count."""
        return int(self.best.waited.min()) >= self.settings.patience

    def checkpoint(self) -> Checkpoint:
        """All that a continued run needs, in tensors and plain values."""
        return {
            "epoch": self.finished_epochs,
            "steps": self.steps,
            "seconds": self.clock.seconds,
            "history": self.history,
            "potential": pack(self.model),
            "best": pack(self.model, member_state(self.model) | self.best.weights),
            "best_members": self.best.state(),
            "plateau": self.plateau.state(),
            "balance": self.balance.state(),
            "optimiser": self._optimiser().state_dict(),
            "average": None if self.average is None else self.average.state(),
            **{name: readout.state_dict() for name, readout in self.readouts.items()},
        }

    def _resume(self, checkpoint: Checkpoint) -> None:
        now, before = self.model.architecture.of_the_network(), checkpoint["potential"]["settings"]
        for key in ("species", "average_neighbours"):
            if now[key] != before[key]:
                raise ValueError(
                    f"cannot be continued with other frames or another initial model: {key} was {before[key]}, "
                    f"is {now[key]}"
                )
        self._resumed = checkpoint
        self.finished_epochs = self.order.first_epoch = checkpoint["epoch"]
        self.steps = checkpoint["steps"]
        self.clock = self.ranks.clock(checkpoint.get("seconds", 0.0))
        self.history = list(checkpoint["history"])
        load_member_state(self.model, checkpoint["potential"]["state"])
        names = self.best.weights
        best = {name: checkpoint["best"]["state"][name] for name in names}
        self.best.load(checkpoint["best_members"], best)
        self.plateau.load(checkpoint["plateau"])
        self.balance.load(checkpoint.get("balance", self.balance.state()))  # older ones have none
        for name, readout in self.readouts.items():
            readout.load_state_dict(checkpoint[name])

    def best_model(self) -> Potential:
        """The model with each member's best averaged weights; the fit's own weights are replaced."""
        load_member_state(self.model, member_state(self.model) | self.best.weights)
        return self.model.cpu().eval()

    def _model_of(self, batch: Batch) -> Evaluable:
        """The model with the masks of the step, corrected on frames that another method labelled."""
        model = self.model if self.dropout is None else self.dropout.masked(self.model, self.steps)
        if self.correction is None:
            return model
        return Corrected(model, self.correction, (batch.index >= self.n_given)[batch.frame_of_atom])

    def _optimiser(self) -> torch.optim.Optimizer:
        """The only optimiser, without Lightning's wrapper."""
        found = self.optimizers()
        assert isinstance(found, LightningOptimizer)
        return found.optimizer

    def _weights(self) -> dict[str, Tensor]:
        return {name: parameter.data for name, parameter in self.model.named_parameters()}

    def _swap_average(self) -> None:
        if self.average is not None:
            self.average.swap(self._weights())

    def _row(self) -> Row:
        row: Row = {"epoch": self.finished_epochs, "step": self.steps, "learning_rate": self.learning_rate}
        row |= self._train_errors.row("train")
        row["train_mollifier"] = float(self._mollifier_sum.mean()) / self._n_batches
        ratio = float(self.balance.ratio().mean()) if self.objective.is_adaptive else 1.0
        row["mollifier_weight"] = ratio * self.objective.mollifier_weight(self.progress)
        if self._validated:
            row |= self._valid_errors.row("valid")
        row["seconds"] = time.perf_counter() - self._started
        return row


def fit_members(
    config: TrainConfig,
    data: TrainingData,
    model: Potential,
    seeds: Sequence[int],
    folder: FitFolder,
    device: torch.device,
    shown: lightning.Callback | None,
    seconds: float | None = None,
    ranks: Ranks = ALONE,
) -> tuple[Potential, list[Row]]:
    """Train `model`, whose members have `seeds`, or go on where `folder` has a checkpoint: best weights, and history.

    `shown` shows how far it is. It ends after `seconds`, or where they are None with the last epoch. Of several `ranks`
    each calls this, with the same checkpoint.
    """
    objective, optimiser = objective_of(config, data, model, seeds, ranks), config.optimiser
    fit = CommitteeFit(
        model,
        objective,
        optimiser,
        data.training,
        data.validation,
        config.seed,
        frame_weights(config, data, seeds),
        folder,
        seconds,
        beside_of(config, data, model, seeds),
        ranks,
        None if config.dropout is None else Dropout(config.dropout, model, seeds),
    )
    if not fit.is_over:
        epochs = optimiser.epochs - fit.finished_epochs if seconds is None else -1
        trainer = one_device_trainer(device, epochs, bool(data.validation), folder.path, shown, ranks)
        fit.train()  # of a loaded model too, and Lightning keeps what it finds
        trainer.fit(fit)
    return fit.best_model(), fit.history
