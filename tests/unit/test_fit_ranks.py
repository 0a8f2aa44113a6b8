"""Several processes that train one fit: the numbers of one process, whatever there are and however they end."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import mollifield_train.training.run
from mollifield_train.cli import main
from mollifield_train.config import N_EPOCHS, TrainConfig
from mollifield_train.data.batches import SeededBatches
from mollifield_train.interruption import Interrupted
from mollifield_train.model.samples import member_state
from mollifield_train.tensor_file import read_tensors
from mollifield_train.training.distributed import Place, place_of, started_ranks
from mollifield_train.training.ranks import ManyRanks, Parts
from mollifield_train.training.run import TrainResult, train
from mollifield_train.training.run_directory import LAST_CHECKPOINT, FitFolder
from mollifield_train.training.schedules import Clock

from .fitting import history, labelled_water, later_export, no_export, tiny_config  # noqa: F401  (fixtures)

PATIENCE = 120.0  # seconds until a condition that never comes fails the test


def images() -> list[Atoms]:
    """14 frames, so that a last batch of 2 to 3 leaves less than a frame a rank: half periodic, some without forces."""
    found = [*labelled_water(7), *labelled_water(7, seed=1, box=4.5)]
    for atoms in found[::4]:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy())
    return found


class Pair:
    """Two ranks, of which this process is the first: started once, and again where a test has ended them."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._found: ManyRanks | None = None

    @contextlib.contextmanager
    def ranks(self, config: TrainConfig) -> Iterator[ManyRanks]:
        """In place of `ranks_of`, which would start them for every training."""
        if self._found is None:
            self._found = self._open.enter_context(started_ranks(2, "cpu"))
        try:
            yield self._found
        except BaseException:
            self._found = None
            self._open.__exit__(*sys.exc_info())
            raise

    def close(self) -> None:
        self._open.close()


def the_other() -> multiprocessing.Process:
    (process,) = [process for process in multiprocessing.active_children() if process.name == "rank 1"]
    return process


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    found = Pair()
    yield found
    found.close()


def on_two(pair: Pair, monkeypatch: pytest.MonkeyPatch, config: TrainConfig, **options: bool) -> TrainResult:
    with monkeypatch.context() as patch:
        patch.setattr(mollifield_train.training.run, "ranks_of", pair.ranks)
        return train(config.model_copy(update={"devices": 2}), progress=False, **options)


def same(one: TrainResult, two: TrainResult) -> None:
    """Weights and every number of the history, but for the rounding of sums."""
    first, second = member_state(one.model), member_state(two.model)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-8, atol=1e-10)
    files = [file.relative_to(one.directory) for file in one.directory.rglob("metrics.csv")]
    assert files
    for file in files:
        rows, others = (history((run.directory / file).parent) for run in (one, two))
        assert len(rows) == len(others)
        for row, other in zip(rows, others, strict=True):
            assert other == pytest.approx(row, rel=1e-8)


@pytest.mark.parametrize(
    "sections",
    [
        {"committee": {"bootstrap": True}, "optimiser": {"batch_by": "edges"}},
        {"committee": {"training": "one_by_one"}, "optimiser": {"sam": 0.02, "batch_size": 3}},
        {"loss": {"measure": "lengths", "stress": 3.0}, "optimiser": {"gradient_clip": 0.1, "schedule": "plateau"}},
        {"uncertainty": {"kinds": [{"kind": "mc_dropout", "where": "everywhere", "passes": 2}]}},
        {"uncertainty": {"kinds": [{"kind": "heads", "last": 1.0, "every": 2}]}, "optimiser": {"sam": 0.02}},
        {
            "pretrain": {
                "oracle": {"kind": "ase", "calculator": "tests.unit.springs.Springs"},
                "frames": 12,
                "weight": 0.5,
            }
        },
    ],
)
def test_two_processes_equal_one(pair, tmp_path, monkeypatch, sections):
    one = train(tiny_config(tmp_path, images(), "one", **sections), progress=False)
    two = on_two(pair, monkeypatch, tiny_config(tmp_path, images(), "two", **sections))
    same(one, two)


def test_time_is_the_first_ranks(pair, tmp_path, monkeypatch):
    """Its clock moves by 10 ms whenever it is read, which the other one's knows nothing of."""
    ticks = itertools.count()
    monkeypatch.setattr(Clock, "now", staticmethod(lambda: 0.01 * next(ticks)))
    config = tiny_config(tmp_path, images(), optimiser={"minutes": 0.01, "epochs": N_EPOCHS})
    result = on_two(pair, monkeypatch, config)
    state = read_tensors(result.directory / LAST_CHECKPOINT)
    assert 0.6 <= state["seconds"] < 0.7 and 30 < state["steps"] <= 60
    assert history(result.directory)[-1]["learning_rate"] == pytest.approx(0.01 * config.optimiser.learning_rate)
    assert the_other().is_alive()


def test_a_loss_that_is_not_finite_ends_both(pair, tmp_path, monkeypatch):
    config = tiny_config(tmp_path, images(), optimiser={"learning_rate": 1e300, "gradient_clip": None})
    with pytest.raises(
        ValueError, match=r"^loss is not finite at epoch 1, step \d \(members 0, 1; (frame \d+ of .*){4}\)"
    ):
        on_two(pair, monkeypatch, config)
    assert multiprocessing.active_children() == []


def test_an_interruption_of_the_first_ends_the_other(pair, tmp_path, monkeypatch):
    """Which waits in a sum for it, and hears no signal that Python would handle."""
    keep = FitFolder.keep_epoch

    def keep_and_interrupt(self: FitFolder, state: dict, rows: list) -> None:
        keep(self, state, rows)
        raise Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(FitFolder, "keep_epoch", keep_and_interrupt)
        with pytest.raises(Interrupted):
            on_two(pair, monkeypatch, tiny_config(tmp_path, images()))
    assert multiprocessing.active_children() == []


def test_a_killed_rank_ends_the_run_and_another_number_goes_on(pair, tmp_path, monkeypatch):
    """Killed after two epochs of six on two ranks, then continued by one process."""
    one = train(tiny_config(tmp_path, images(), "one", optimiser={"epochs": 6}), progress=False)
    config = tiny_config(tmp_path, images(), "two", optimiser={"epochs": 6})
    keep = FitFolder.keep_epoch

    def keep_and_kill(self: FitFolder, state: dict, rows: list) -> None:
        keep(self, state, rows)
        if state["epoch"] == 2:
            the_other().kill()

    with monkeypatch.context() as patch:
        patch.setattr(FitFolder, "keep_epoch", keep_and_kill)
        message = "rank 1 of 2 was ended by SIGKILL; what is done is kept, continue with --resume"
        with pytest.raises(ChildProcessError, match=message):
            on_two(pair, monkeypatch, config)
    assert multiprocessing.active_children() == []
    assert read_tensors(tmp_path / "two" / LAST_CHECKPOINT)["epoch"] == 2
    same(one, train(config, resume=True, progress=False))


def srun(rank: int, port: int) -> dict[str, str]:
    """What it puts into the environment of one of two processes on this machine."""
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "77"}
    return step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "MASTER_PORT": str(port)}


def test_the_command_takes_its_place_under_slurm(tmp_path, monkeypatch):
    train(tiny_config(tmp_path, images(), "one"), progress=False)
    config = tiny_config(tmp_path, images(), "two", devices=2)
    path = tmp_path / "train.yaml"
    path.write_text(config.model_dump_json())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mollifield_train.cli", "train", str(path)]
    other = subprocess.Popen(command, env=os.environ | srun(1, port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for key, value in srun(0, port).items():
        monkeypatch.setenv(key, value)
    assert main(["train", str(path)]) == 0
    said, _ = other.communicate(timeout=PATIENCE)
    assert (other.returncode, said) == (0, b"")
    rows = [history(tmp_path / name)[-1] for name in ("one", "two")]
    assert rows[1] == pytest.approx(rows[0], rel=1e-8)


def test_places_follow_srun_and_must_be_as_many_as_asked_for(tmp_path, monkeypatch):
    def asking(devices: int, nodes: int) -> TrainConfig:
        return tiny_config(tmp_path, images(), devices=devices, nodes=nodes)

    for key in [key for key in os.environ if key.startswith(("SLURM_", "MASTER_"))]:
        monkeypatch.delenv(key)
    assert place_of(asking(2, 1)) is None  # starts the other itself
    with pytest.raises(ValueError, match="'devices' 1 times 'nodes' 2 is 2, and srun has started 1 of the"):
        place_of(asking(1, 2))
    found = {"SLURM_JOB_ID": "1234567", "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_STEP_NUM_TASKS": "4"}
    for key, value in (found | {"SLURM_PROCID": "3", "SLURM_LOCALID": "1"}).items():
        monkeypatch.setenv(key, value)
    assert place_of(asking(2, 2)) == Place(3, 4, 1, "gpu07", 15000 + 4567)
    assert place_of(asking(1, 1)) is None  # many trainings in one step, each by itself
    with pytest.raises(ValueError, match="'devices' 2 times 'nodes' 1 is 2, and srun has started 4"):
        place_of(asking(2, 1))


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_parts_are_the_whole_and_balance(n_ranks):
    """Frames of very different sizes; the last batch has one frame, and the other ranks a stand-in."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(10, 1000, size=41).tolist()
    whole = SeededBatches(41, 8, seed=3)
    ranks = [ManyRanks(rank, n_ranks, lambda content: b"") for rank in range(n_ranks)]
    for batch, *parts in zip(whole, *[Parts(whole, sizes, 41, rank) for rank in ranks], strict=True):
        assert sorted(frame for part in parts for frame in part if frame < 41) == sorted(batch)
        assert all(part for part in parts)
        if len(batch) == 1:
            assert sorted(parts) == [batch, *[[41]] * (n_ranks - 1)]
            continue
        edges = [sum(sizes[frame] for frame in part) for part in parts]
        assert max(edges) - min(edges) <= max(sizes[frame] for frame in batch)
        assert all(part == [frame for frame in batch if frame in part] for part in parts)


@pytest.mark.parametrize(
    "sections, message",
    [
        ({"loss": {"mollifier": {}}}, "'loss.mollifier' moves atoms of whole batches"),
        ({"committee": {"training": "parallel"}}, "choose one of them"),
        ({"optimiser": {"batch_size": 1}}, "'optimiser.batch_size' 1 frames cannot keep 2 processes busy"),
    ],
)
def test_what_cannot_be_divided_is_refused(tmp_path, sections, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(tmp_path, images(), devices=2, **sections)
