"""Executors of a config, and a committee's members on them; what needs Dask is skipped where it is not installed."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mollifield_train.active.config import LoopConfig
from mollifield_train.clusters import executor_on
from mollifield_train.clusters.config import ClusterConfig, DaskConfig, LocalConfig, SlurmConfig
from mollifield_train.clusters.slurm import job_options
from mollifield_train.config import TrainConfig
from mollifield_train.model.samples import load_member_state, member_state, one_member
from mollifield_train.oracle.calculators import EmtConfig
from mollifield_train.oracle.execution import oracle_workers
from mollifield_train.section import validated
from mollifield_train.sweep.config import SweepConfig
from mollifield_train.training import on_cluster
from mollifield_train.training.on_cluster import fit_on_cluster, train_member
from mollifield_train.training.parallel import WORKERS_FILE, Task, Told
from mollifield_train.training.run import _data_and_model, train
from mollifield_train.training.run_directory import FitFolder, RunDirectory

from .fitting import history, labelled_water, later_export, no_export, tiny_config  # noqa: F401  (fixtures)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As the workers have."""
    torch.set_num_threads(1)


def train_and_die_once(payload: str, m: int) -> str | None:
    """In a worker: member 1 is killed when its third epoch is on disk, and may then go on."""
    mark, keep = Path(payload).with_name("died"), FitFolder.keep_epoch

    def keep_and_die(self: FitFolder, state: dict, rows: list) -> None:
        keep(self, state, rows)
        if m == 1 and state["epoch"] == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    FitFolder.keep_epoch = keep_and_die  # type: ignore[method-assign]
    try:
        return train_member(payload, m)
    finally:
        FitFolder.keep_epoch = keep  # type: ignore[method-assign]


def test_a_dead_worker_costs_its_epoch_only(tmp_path, monkeypatch):
    """Two members, one worker at a time, on the executor that loop and sweep use."""
    committee = {"training": "one_by_one", "bootstrap": True}
    one = train(tiny_config(tmp_path, labelled_water(12), "one", committee=committee), progress=False)
    config = tiny_config(tmp_path, labelled_water(12), "run", committee=committee | {"training": "parallel"})
    directory = RunDirectory(config.directory)
    directory.begin(config, resume=False)
    data, model = _data_and_model(config, progress=False)
    heard: dict[str, list[Any]] = {"epoch": [], "done": [], "death": []}
    told = Told(
        lambda m, part: None,
        lambda m, rows: heard["epoch"].append((m, len(rows))),
        heard["done"].append,
        heard["death"].append,
    )
    monkeypatch.setattr(on_cluster, "train_member", train_and_die_once)
    task = Task(config, data, model.architecture, member_state(model), [0, 1], None)
    fit_on_cluster(task, 1, told)
    (death,) = heard["death"]
    assert death == (
        "member 1: its worker failed (WorkerDied: the worker died (SIGKILL)); another goes on from the last checkpoint"
    )
    assert heard["done"] == [0, 1] and {(0, 4), (1, 4)} <= set(heard["epoch"])
    assert not (directory.path / WORKERS_FILE).exists()
    for m in range(2):
        assert history(directory.path / "members" / str(m)) == history(tmp_path / "one" / "members" / str(m))
        checkpoint = directory.fit_folder(config, data.provenance(), m).checkpoint
        assert checkpoint is not None
        member = one_member(model, m)
        load_member_state(member, checkpoint["best"]["state"])
        for name, tensor in member_state(member).items():
            assert name == "atomic_shifts" or torch.equal(tensor, member_state(one.model)[name][m : m + 1])


def asking_for(cluster: dict[str, Any]) -> list[ClusterConfig]:
    """What the three that have work for clusters make of a section."""
    training = {"data": {"train": "a.xyz"}, "committee": {"training": "parallel", "cluster": cluster}}
    loop = {"directory": "a", "frames": "a.xyz", "oracle": {"kind": "emt", "cluster": cluster}}
    sweep = {"training": {}, "search": {"seed": [0, 1]}, "cluster": cluster}
    return [
        validated(TrainConfig, training, "test").committee.cluster,
        validated(LoopConfig, loop, "test").oracle.cluster,
        validated(SweepConfig, sweep, "test").cluster,
    ]


def test_one_section_is_the_same_everywhere():
    assert asking_for({}) == [LocalConfig()] * 3
    assert asking_for({"kind": "dask", "address": "tcp://head:1"}) == [DaskConfig(address="tcp://head:1")] * 3
    assert asking_for({"kind": "slurm", "cores": 4}) == [SlurmConfig(cores=4)] * 3
    with pytest.raises(ValueError, match="key 'committee.cluster.kind': input should be 'local' or 'dask' or 'slurm'"):
        asking_for({"kind": "pbs"})
    with pytest.raises(ValueError, match="unknown key 'committee.cluster.que'; did you mean 'queue'"):
        asking_for({"kind": "slurm", "que": "gpu"})


@pytest.mark.parametrize("settings", [DaskConfig(), SlurmConfig()])
def test_a_missing_package_is_named(tmp_path, monkeypatch, settings):
    for name in ("dask", "distributed", "dask_jobqueue"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"pip install 'mollifield\[dask\]'"), executor_on(settings, 1, tmp_path, None):
        pass


def test_no_scheduler_at_an_address_is_said(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("mollifield_train.clusters.dask.ANSWERING", 0.2)
    settings = DaskConfig(address="tcp://127.0.0.1:9")
    made = executor_on(settings, 1, tmp_path, None)
    with pytest.raises(ValueError, match="no scheduler answers at tcp://127.0.0.1:9"), made:
        pass


def leave_a_file(name: str) -> list[str]:
    Path(name).touch()
    return os.listdir()


def test_members_and_calls_on_workers_of_dask(tmp_path):
    pytest.importorskip("distributed")
    with oracle_workers(EmtConfig(cluster=DaskConfig()), tmp_path)(1) as pool:
        assert [pool.submit(leave_a_file, "OUTCAR").result() for _ in range(2)] == [["OUTCAR"]] * 2
    committee = {"training": "one_by_one"}
    one = train(tiny_config(tmp_path, labelled_water(12), "one", committee=committee), progress=False)
    committee = {"training": "parallel", "workers": 1, "cluster": {"kind": "dask"}}
    other = train(tiny_config(tmp_path, labelled_water(12), "other", committee=committee), progress=False)
    for name, tensor in member_state(one.model).items():
        assert torch.equal(member_state(other.model)[name], tensor)
    assert other.metrics == one.metrics


SBATCH = """#!/bin/bash
copy=$(mktemp); cp "$1" $copy
setsid bash $copy > /dev/null 2>&1 < /dev/null &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
for job in "$@"; do kill -- -$job; done
"""


def environment(name: str) -> str | None:
    return os.environ.get(name)


def test_calls_in_jobs(tmp_path, monkeypatch):
    """With stand-ins for Slurm's commands that start a job at once, on this machine."""
    pytest.importorskip("dask_jobqueue")
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    settings = SlurmConfig(cores=2, memory="1GB", prologue=["export MODULE=vasp"])
    with executor_on(settings, 1, tmp_path, None) as pool:
        found = [pool.submit(environment, name).result() for name in ("MODULE", "OMP_NUM_THREADS")]
        assert found == ["vasp", "2"]
        assert pool.submit(leave_a_file, "OUTCAR").result() == ["OUTCAR"]


def test_the_script_of_a_job(tmp_path):
    slurm = pytest.importorskip("dask_jobqueue.slurm")
    settings = SlurmConfig(
        queue="gpu", account="chem", cores=4, memory="8GB", walltime="02:00:00", directives=["--gres=gpu:1"]
    )
    settings = settings.model_copy(update={"prologue": ["module load vasp"]})
    script = slurm.SLURMJob(scheduler="tcp://head:8786", name="w", **job_options(settings, tmp_path)).job_script()
    lines = script.splitlines()
    for directive in ("-J mollifield", "-p gpu", "-A chem", "-n 1", "--cpus-per-task=4", "--mem=8G", "-t 02:00:00"):
        assert f"#SBATCH {directive}" in lines
    assert "#SBATCH --gres=gpu:1" in lines and f"#SBATCH -o {tmp_path}/slurm/mollifield-%J.out" in lines
    assert lines.index("module load vasp") < lines.index("export OMP_NUM_THREADS=4")
    assert "tcp://head:8786" in lines[-1] and "--nthreads 1 " in lines[-1] and "--nanny" in lines[-1]
