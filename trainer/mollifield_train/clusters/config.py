"""What a config may say of where calls run."""

from typing import Literal

from pydantic import PositiveInt

from ..section import Section


class ClusterConfig(Section):
    """Every sort of workers. Subclasses make `kind` a `Literal` with the name of their line in the table."""

    kind: str
    """`local` (processes on this machine), `dask` or `slurm`."""


class LocalConfig(ClusterConfig):
    """Processes on this machine, which end with whoever has started them."""

    kind: Literal["local"] = "local"


class DaskConfig(ClusterConfig):
    """Workers of Dask, one call at a time each."""

    kind: Literal["dask"] = "dask"
    address: str | None = None
    """Of a scheduler, such as `tcp://head:8786`, whose workers have one thread each (`--nthreads 1`). Null: a
    `LocalCluster` on this machine, for the time of the run."""


class SlurmConfig(ClusterConfig):
    """Jobs of Slurm with a Dask worker each (dask-jobqueue), submitted for the time of the run."""

    kind: Literal["slurm"] = "slurm"
    queue: str | None = None
    """The partition; null for Slurm's default."""
    account: str | None = None
    """To be charged; null for Slurm's default."""
    cores: PositiveInt = 1
    """Of a job, all for one call."""
    memory: str = "4GB"
    """Of a job."""
    walltime: str = "24:00:00"
    """Of a job. What a job that has come to its end was doing, another goes on with."""
    directives: list[str] = []
    """Further ones for sbatch, such as `--gres=gpu:1`."""
    prologue: list[str] = []
    """Lines of shell before the worker, such as `module load vasp`."""
