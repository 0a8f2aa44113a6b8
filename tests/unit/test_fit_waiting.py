"""A step of training asks the device for nothing, so that a GPU need not be waited for.

On the CPU nobody waits, so what would is forbidden while a step runs: to read a number out of a tensor, to copy one to
the host, and shapes that depend on values. The model is told that its tensors are elsewhere.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mollifield_train.data.batches import Batch, build_graphs, collate
from mollifield_train.data.frames import read_frames
from mollifield_train.model.repulsion import ZBLRepulsion
from mollifield_train.training.finite import FiniteLosses
from mollifield_train.training.lightning_fit import CommitteeFit
from mollifield_train.training.ranks import ALONE
from mollifield_train.training.run import train

from .fitting import labelled_water, later_export, no_export, tiny_config  # noqa: F401  (fixtures)

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten.repeat_interleave,
    aten._unique2,
}
READING = {Tensor.cpu, Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__float__, Tensor.__int__}


class Waits(list[str]):
    """What would wait, and from where."""

    def note(self, func: Any) -> None:
        lines = [frame for frame in traceback.extract_stack() if "mollifield" in frame.filename]
        self.append(f"{func} in {lines[-1].filename}:{lines[-1].lineno}" if lines else str(func))


class OfOperators(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func.overloadpacket is aten.index and any(i is not None and i.dtype == torch.bool for i in args[1])
        if func.overloadpacket in WAITING or by_mask:
            self.waits.note(func)
        return func(*args, **(kwargs or {}))


class Elsewhere(TorchFunctionMode):
    """Tensors say that they are not on the CPU; what reads them is noted."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.is_cpu.__get__:
            return False
        if func in READING or (func is Tensor.to and "cpu" in map(str, args[1:])):
            self.waits.note(func)
        return func(*args, **(kwargs or {}))


@contextmanager
def device() -> Iterator[Waits]:
    waits = Waits()
    with Elsewhere(waits), OfOperators(waits):
        yield waits


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Waits]:
    """Of each step that is taken."""
    running, begin, end = ExitStack(), CommitteeFit.on_train_batch_start, CommitteeFit.on_train_batch_end
    steps: list[Waits] = []

    def begin_watched(fit: CommitteeFit, batch: Batch, batch_idx: int) -> None:
        steps.append(running.enter_context(device()))
        begin(fit, batch, batch_idx)

    def end_watched(fit: CommitteeFit, *arguments: Any) -> None:
        end(fit, *arguments)
        running.close()

    monkeypatch.setattr(CommitteeFit, "on_train_batch_start", begin_watched)
    monkeypatch.setattr(CommitteeFit, "on_train_batch_end", end_watched)
    return steps


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"zbl": True, "messages": "scattered", "correlation": 2}, "optimiser": {"gradient_clip": 1.0}},
        {"optimiser": {"sam": 0.01, "weight_decay": 1e-3}, "loss": {"measure": "lengths"}},
        {"uncertainty": {"kinds": [{"kind": "heads", "last": 0.5, "every": 2}]}, "committee": {"n_members": 3}},
        {"uncertainty": {"kinds": ["mc_dropout"]}, "committee": {"n_members": 2}},
    ],
    ids=["default", "sharpness", "heads", "dropout"],
)
def test_no_step_waits_for_the_device(sections: dict, watched: list[Waits], tmp_path) -> None:
    images = labelled_water(8, box=8.0)
    train(tiny_config(tmp_path, images, **({"optimiser": {"epochs": 2}} | sections)), progress=False)
    assert watched == [[]] * len(watched) and len(watched) >= 4


@pytest.mark.parametrize(
    "ask", [lambda x: x.item(), lambda x: bool(x > 0), lambda x: x.cpu(), lambda x: x.nonzero(), lambda x: x[x > 0]]
)
def test_waiting_is_seen(ask: Callable[[Tensor], object]) -> None:
    with device() as waits:
        ask(torch.ones(()))
    assert waits


def test_repulsion_is_the_same_elsewhere() -> None:
    """Where it takes all edges, not those that are near: their repulsion is zero."""
    repulsion = ZBLRepulsion([1, 8], 4.0, torch.float64)
    generator = torch.Generator().manual_seed(0)
    index, types = torch.randint(0, 5, (2, 40), generator=generator), torch.tensor([0, 1, 1, 0, 1])
    lengths = 0.4 + 3.6 * torch.rand(2, 40, generator=generator, dtype=torch.float64)
    assert 5 < int((lengths < repulsion.reach).sum()) < 75
    lengths.requires_grad_()
    expected = repulsion(lengths, index, types, 5)
    with device() as waits:
        found = repulsion(lengths, index, types, 5)
    assert not waits
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
    slopes = [torch.autograd.grad(energy.sum(), lengths)[0] for energy in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-14, atol=1e-14)


def test_a_loss_is_looked_at_some_steps_later(tmp_path) -> None:
    config = tiny_config(tmp_path, labelled_water(3))
    frames = read_frames(config.data.train)
    batches = [collate([graph]) for graph in build_graphs(frames, ["H", "O"], 3.0)]
    losses = FiniteLosses(ALONE, lag=2)
    values = [torch.tensor([1.0, 2.0]), torch.tensor([np.nan, 1.0]), torch.tensor([1.0, np.inf])]
    for step, (loss, batch) in enumerate(zip(values, batches, strict=True)):
        losses.add(loss, batch, f"step {step}")
    message = r"not finite at step 1 \(members 0; frame 1 of .*frames.xyz\)"
    with pytest.raises(ValueError, match=message):
        losses.add(torch.ones(2), batches[0], "step 3")
    with pytest.raises(ValueError, match=r"not finite at step 2 \(members 1; frame 2 of"):
        losses.require_all()
    losses.require_all()


def test_the_first_frames_of_a_batch(tmp_path) -> None:
    config = tiny_config(tmp_path, labelled_water(3, box=8.0))
    graphs = build_graphs(read_frames(config.data.train), ["H", "O"], 3.0)
    found, expected = collate(graphs).first(2), collate(graphs[:2])
    for name, value in vars(expected).items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(getattr(found, name), value, rtol=0, atol=0)
        else:
            assert getattr(found, name) == value or name == "graphs"
    assert found.graphs == tuple(graphs[:2])
