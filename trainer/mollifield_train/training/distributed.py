"""How ranks (`ranks`) come together, and what those do that are not the first.

On one machine the first rank starts the others as its children; on several, srun starts all, and the command becomes
the first rank or a follower by what stands in the environment. A follower waits for a `Task` and then for one fit after
the other, and trains along; the first rank alone reads and writes files. When one rank ends, all do.
"""

import contextlib
import datetime
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.environments import SLURMEnvironment

from mollifield.devices import choose_device

from ..config import TrainConfig
from ..interruption import SIGNALS
from ..model import build
from ..model.samples import load_member_state, one_member
from ..processes import exit_with_parent, single_threaded_children, starting_children
from .lightning_fit import fit_members
from .parallel import Task, death_of, pickled
from .progress import quiet_lightning
from .ranks import ALONE, ManyRanks, Ranks
from .run_directory import Checkpoint, FitFolder

LONG = datetime.timedelta(days=1)
"""For the first rank to read its data, while others wait. A death is noticed at once, by its connections."""
JOINING = datetime.timedelta(minutes=10)
"""For all ranks to come, where srun starts them."""
_BAD_INPUT = 2
"""Exit status of a follower that has said what is wrong."""
_HERE, _SAID = "here", "said"


class Place(NamedTuple):
    """Of one process, among those that srun has started."""

    rank: int
    size: int
    local_rank: int
    """On its machine."""
    address: str
    """Of the first rank's machine."""
    port: int


class Fit(NamedTuple):
    """What followers are told of the next fit of a `Task`."""

    member: int | None
    """None: all members together."""
    checkpoint: Checkpoint | None


def place_of(config: TrainConfig) -> Place | None:
    """Where srun has put this process; None where one process is enough, or is to start the others itself.

    Raises ValueError where srun has started another number of processes than the config asks for, or has not been used.
    """
    size = config.devices * config.nodes
    # Of a step: a batch script has tasks too, but is one process.
    n_tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if size == 1 or (n_tasks == 1 and config.nodes == 1):
        return None
    if n_tasks != size:
        raise ValueError(
            f"'devices' {config.devices} times 'nodes' {config.nodes} is {size}, and srun has started {n_tasks} of the "
            f"processes: `srun --nodes={config.nodes} --ntasks-per-node={config.devices} mollifield train ...` starts "
            "one for each device"
        )
    nodes = os.environ.get("SLURM_STEP_NODELIST", os.environ.get("SLURM_NODELIST", "127.0.0.1"))
    address = os.environ.get("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
    port = int(os.environ.get("MASTER_PORT", 15000 + int(os.environ["SLURM_JOB_ID"]) % 10000))
    return Place(int(os.environ["SLURM_PROCID"]), size, int(os.environ["SLURM_LOCALID"]), address, port)


@contextlib.contextmanager
def ranks_of(config: TrainConfig) -> Iterator[Ranks]:
    """The first rank of those that a config asks for; the others listen until the block ends.

    Raises ValueError as `place_of`, where there are fewer GPUs than asked for, and for what a follower raises it;
    ChildProcessError where a rank has died.
    """
    if config.devices * config.nodes == 1:
        yield ALONE
        return
    place = place_of(config)
    _require_devices(config, place)
    if place is None:
        with started_ranks(config.devices, config.device) as ranks:
            yield ranks
        return
    if place.rank > 0:
        raise ValueError(f"this is rank {place.rank} of {place.size}: the command `mollifield train` alone can follow")
    with _joined(place, config.device) as ranks:
        yield ranks
        ranks.say(None)


def follow(config: TrainConfig, place: Place) -> None:
    """Be a rank that is not the first, where srun has started all. Raises as `ranks_of`."""
    _require_devices(config, place)
    with quiet_lightning(), _joined(place, config.device) as ranks:
        _train_along(ranks, config.device, place.local_rank)


def _train_along(ranks: ManyRanks, device_name: str, local_rank: int) -> None:
    device = choose_device(device_name)
    if device.type == "cuda":
        device = torch.device("cuda", _gpu(local_rank))
    while (told := ranks.heard()) is not None:
        if isinstance(told, Task):
            task = told
            committee = build(task.architecture)
            load_member_state(committee, task.state)
            continue
        m, checkpoint = told
        model = committee if m is None else one_member(committee, m)
        seeds = task.seeds if m is None else [task.seeds[m]]
        folder = FitFolder(Path(task.config.directory), {}, checkpoint)
        fit_members(task.config, task.data, model, seeds, folder, device, None, task.seconds, ranks)


def _gpu(local_rank: int) -> int:
    """The GPU of a rank: Slurm may show each task its own alone."""
    return local_rank % torch.cuda.device_count()


def _require_devices(config: TrainConfig, place: Place | None) -> None:
    if choose_device(config.device).type != "cuda":
        return
    n_gpus = torch.cuda.device_count()
    if n_gpus < config.devices and (place is None or n_gpus > 1):
        raise ValueError(f"'devices' is {config.devices}: this process sees {n_gpus} GPUs")


@contextlib.contextmanager
def _joined(place: Place, device: str) -> Iterator[ManyRanks]:
    """A rank of those that srun has started."""
    try:
        store = dist.TCPStore(place.address, place.port, place.size, place.rank == 0, timeout=JOINING)
    except RuntimeError as error:
        raise OSError(
            f"rank {place.rank}: the {place.size} ranks have not met at {place.address}, port {place.port} "
            f"(MASTER_ADDR and MASTER_PORT choose others): {error}"
        ) from None
    try:
        with _group(store, place.rank, place.size, place.local_rank, device) as ranks:
            yield ranks
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise ChildProcessError(f"rank {place.rank}: another rank has ended; {_KEPT}") from None


@contextlib.contextmanager
def started_ranks(size: int, device: str) -> Iterator[ManyRanks]:
    """The first of `size` ranks on this machine, which starts the others, and ends them with the block.

    Raises ValueError for what one of them raises it, ChildProcessError where one has died.
    """
    context = multiprocessing.get_context("spawn")
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    threads = torch.get_num_threads()
    each = max(1, threads // size)
    followers = [
        context.Process(target=_follower, args=(store.port, rank, size, device, each), name=f"rank {rank}")
        for rank in range(1, size)
    ]
    try:
        with single_threaded_children(), starting_children():
            for follower in followers:
                follower.start()
        while not store.check([f"{_HERE}/{rank}" for rank in range(1, size)]):
            if any(follower.exitcode is not None for follower in followers):
                raise _why(followers, store)
            time.sleep(0.02)
        torch.set_num_threads(each)
        with _group(store, 0, size, 0, device) as ranks:
            yield ranks
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise _why(followers, store) from None
    finally:
        torch.set_num_threads(threads)
        for follower in followers:
            if follower.pid is not None:
                follower.kill()  # it is deaf to SIGTERM while it waits for the first rank, and has nothing to lose
                follower.join()


def _follower(port: int, rank: int, size: int, device: str, n_threads: int) -> None:
    """The process of a rank that the first one has started."""
    exit_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal reaches the first rank too, which ends all
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    torch.set_num_threads(n_threads)
    store = dist.TCPStore("127.0.0.1", port)
    store.set(f"{_HERE}/{rank}", "")
    try:
        with quiet_lightning(), _group(store, rank, size, rank, device) as ranks:
            _train_along(ranks, device, rank)
    except (ValueError, OSError) as error:
        store.set(f"{_SAID}/{rank}", str(error))
        sys.exit(_BAD_INPUT)
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        sys.exit(_BAD_INPUT)


@contextlib.contextmanager
def _group(store: Any, rank: int, size: int, local_rank: int, device: str) -> Iterator[ManyRanks]:
    """The process group, for as long as the block."""
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=LONG)
    try:
        on_devices = None
        if choose_device(device).type == "cuda":
            torch.cuda.set_device(_gpu(local_rank))
            on_devices = dist.new_group(backend="nccl")
        yield ManyRanks(rank, size, pickled, on_devices)
    finally:
        dist.destroy_process_group()


_KEPT = "what is done is kept, continue with --resume"


def _is_lost(error: RuntimeError) -> bool:
    """Whether it is gloo's, of a connection that has closed: torch has no class for it."""
    return "gloo" in str(error) or isinstance(error, dist.DistError)


def _why(followers: Sequence[Any], store: Any) -> Exception:
    """What has ended a follower, and with it the run."""
    for follower in followers:
        follower.join(5.0)  # connections close before a process has ended
    for rank, follower in enumerate(followers, start=1):
        if follower.exitcode == _BAD_INPUT and store.check([f"{_SAID}/{rank}"]):
            return ValueError(f"rank {rank}: {store.get(f'{_SAID}/{rank}').decode()}")
    for rank, follower in enumerate(followers, start=1):
        if follower.exitcode not in (None, 0, _BAD_INPUT):
            return ChildProcessError(f"rank {rank} of {len(followers) + 1} was ended by {death_of(follower)}; {_KEPT}")
    return ChildProcessError(f"a rank has lost its connection to the others; {_KEPT}")
