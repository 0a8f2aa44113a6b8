"""Processes ("ranks") that train one fit together: a part of every batch each, and one sum of gradients.

Batches are those of one process; each is divided between the ranks so that edges balance, and a rank's loss is its part
of the mean over the whole batch. So the sum of the gradients is the gradient of one process, whatever their number, and
a run may go on with another one.

Lightning drives each rank as a fit on one device, and its `DDPStrategy` is not used: it averages where parts of unequal
batches must be summed, and it sees the gradients that arrive by `backward` alone, while sharpness-aware steps ask
`autograd.grad` for theirs. Models are small (some 100,000 numbers a member), so that nothing is gained by sending
gradients while others are still computed.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Sampler

from ..data.batches import Batch, Graph, SeededBatches, SharedBatches, collate, spread
from ..data.frames import LABELS
from ..data.graph_sets import graph_set, one_after_another
from .schedules import Clock

STAND_IN = -1
"""Index of the frame without labels that a rank computes where a batch has no other for it."""
_PIECE = 1 << 28
"""Bytes of a message that are sent at a time."""


class Counts(NamedTuple):
    """What a batch has, of all ranks together."""

    frames: int
    labels: dict[str, int]
    """By the name of the label: frames that have it."""


class Ranks:
    """The processes of a fit, as one of them sees them. By itself: one process, which has nobody to ask."""

    rank = 0
    size = 1
    plugins: list[Any] | None = None
    """Of Lightning's trainer."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reads, writes and shows."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over ranks, the same to the last digit on all of them."""

    def add_up_gradients(self, parameters: Sequence[Tensor], losses: Tensor) -> Tensor:
        """Replace the parameters' gradients by their sums over ranks; the losses [M] of the whole batch."""
        return losses

    def counts(self, batch: Batch) -> Counts:
        """Of all ranks' parts of a batch."""
        return Counts(batch.n_frames, {label: batch.count(label) for label in LABELS})

    def gathered(self, value: Any) -> list[Any]:
        """Each rank's value."""
        return [value]

    def say(self, content: Any) -> None:
        """Tell the other ranks, who are listening (`heard`)."""

    def clock(self, seconds: float) -> Clock:
        """Of a fit that has run for so long."""
        return Clock(seconds)


ALONE = Ranks()


class ManyRanks(Ranks):
    """Ranks of a process group."""

    def __init__(self, rank: int, size: int, pickled: Callable[[Any], bytes], device_group: Any = None) -> None:
        """`device_group`: for tensors that are not on the CPU, if another than the default one."""
        self.rank, self.size = rank, size
        self.plugins = [LightningEnvironment()]  # or it would make something of Slurm's variables
        self._pickled = pickled
        self._device_group = device_group
        self._counted: tuple[Batch, Counts] | None = None

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat, group=None if flat.device.type == "cpu" else self._device_group)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def add_up_gradients(self, parameters: Sequence[Tensor], losses: Tensor) -> Tensor:
        # Those without a gradient here may have one elsewhere. The losses travel along, in the gradients' precision.
        total = losses.to(parameters[0].dtype)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.add_up([total, *[parameter.grad for parameter in parameters if parameter.grad is not None]])
        return total

    def counts(self, batch: Batch) -> Counts:
        if self._counted is None or self._counted[0] is not batch:  # all ranks ask alike
            n_frames = sum(graph.index != STAND_IN for graph in batch.graphs)
            found = torch.tensor([n_frames, *[batch.count(label) for label in LABELS]])
            dist.all_reduce(found)
            n_frames, *labels = found.tolist()
            self._counted = batch, Counts(n_frames, dict(zip(LABELS, labels, strict=True)))
        return self._counted[1]

    def gathered(self, value: Any) -> list[Any]:
        found = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def say(self, content: Any) -> None:
        data = torch.frombuffer(bytearray(self._pickled(content)), dtype=torch.uint8)
        dist.broadcast(torch.tensor(len(data)), 0)
        for piece in data.split(_PIECE):
            dist.broadcast(piece, 0)

    def heard(self) -> Any:
        """What the first rank says next; it is waited for."""
        length = torch.tensor(0)
        dist.broadcast(length, 0)
        data = torch.empty(int(length), dtype=torch.uint8)
        for piece in data.split(_PIECE):
            dist.broadcast(piece, 0)
        return pickle.loads(data.numpy().tobytes())

    def clock(self, seconds: float) -> Clock:
        return _AgreedClock(seconds)


class _AgreedClock(Clock):
    """The first rank's: whether time is over must be the same everywhere, or one waits for ever."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self._agreed = seconds

    def agree(self) -> None:
        now = torch.tensor(super().seconds, dtype=torch.float64)
        dist.broadcast(now, 0)
        self._agreed = float(now)

    @property
    def seconds(self) -> float:
        """When it was last agreed."""
        return self._agreed


WholeBatches = BatchSampler | SharedBatches | SeededBatches
"""Who makes the batches of all ranks."""


class Parts(Sampler[list[int]]):
    """One rank's frames of every batch, in the batch's order; the edges of the ranks balance."""

    def __init__(self, whole: WholeBatches, sizes: Sequence[int], n_given: int, ranks: Ranks) -> None:
        """`sizes`: edges of each frame. Where none of a rank's frames is below `n_given`, a stand-in, whose number
        follows the last frame's, comes first: a rank without work must still take part in what ranks do together."""
        self.whole, self._sizes, self._n_given, self._ranks = whole, sizes, n_given, ranks

    @property
    def sampler(self) -> Any:
        """Whom Lightning tells the epoch."""
        return self.whole.sampler

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.whole:
            largest_first = sorted(batch, key=lambda frame: -self._sizes[frame])
            mine = set(spread(largest_first, self._sizes, self._ranks.size)[self._ranks.rank])
            part = [frame for frame in batch if frame in mine]
            yield part if any(frame < self._n_given for frame in part) else [len(self._sizes), *part]


def batch_loader(
    sets: Sequence[Sequence[Graph]], batches: WholeBatches, ranks: Ranks, pinned: bool = False
) -> DataLoader[Graph]:
    """Loads this rank's part of every batch from sets one after the other, of which the first has the given frames.

    `pinned`: into memory from which a GPU takes them by itself."""
    mine: Sampler[list[int]] = batches
    if ranks.size > 1:
        sizes = np.concatenate([graph_set(graphs).n_edges for graphs in sets]).tolist()
        n_given = len(sets[0])
        mine = Parts(batches, sizes, n_given, ranks)
        sets = [*sets, [_without_labels(sets[0][min(range(n_given), key=sizes.__getitem__)])]]
    return DataLoader(one_after_another(*sets), batch_sampler=mine, collate_fn=collate, pin_memory=pinned)


def _without_labels(graph: Graph) -> Graph:
    """The stand-in: a copy of a frame that counts nowhere."""
    frame = replace(graph.frame, energy=None, forces=None, stress=None, weight=1.0, forces_mask=None)
    return replace(graph, frame=frame, index=STAND_IN)
