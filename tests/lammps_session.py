"""One running `lmp` that evaluates frame after frame, fed through its standard input.

Starting LAMMPS and loading a model takes longer than a hundred evaluations. Between frames all atoms are deleted and
the box is changed, so that the pair style also meets boxes and atoms that it was not started with.
"""

import os
import queue
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
from ase import Atoms

from mollifield_lammps import lammps_command, place_atoms
from mollifield_lammps.data import Placement
from mollifield_lammps.locate import lammps_environment

BAR = 1.6021765e6  # LAMMPS's nktv2p: bar in one eV/Å^3
PATIENCE = 120.0  # s without a word

START = """units metal
atom_style atomic
atom_modify map yes
newton on
region b prism 0 9 0 9 0 9 0 0 0
box tilt large
create_box {n_types} b
mass * 1.0
pair_style mollifield
pair_coeff * * {model} {species}
compute e all pe/atom pair
compute p all pressure NULL pair
thermo_style custom step pe vol c_p[*]
thermo_modify format float %.17g lost error
"""
DUMP = """dump d all custom 1 forces.dump id fx fy fz c_e
dump_modify d sort id format float %.17g
run 0 post no
undump d
"""
SNAPSHOT = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
{n_atoms}
ITEM: BOX BOUNDS xy xz yz pp pp pp
{bounds}
ITEM: ATOMS id type x y z
{rows}
"""


class LammpsSession:
    """`lmp` on `n_ranks` ranks with one model; `close` ends it."""

    def __init__(self, model: Path, species: list[str], n_ranks: int, directory: Path) -> None:
        self._species = species
        self._directory = directory
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [*lammps_command(n_ranks), "-log", "none", "-nonbuf"],
            cwd=directory,
            env=lammps_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(START.format(n_types=len(species), model=model, species=" ".join(species)))

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """(energy, atomic energies [N], forces [N, 3], virial [3, 3]) in eV and Å."""
        placed = place_atoms(atoms)
        (self._directory / "atoms.dump").write_text(self._snapshot(placed, atoms.get_chemical_symbols()))
        boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
        commands = [
            "delete_atoms group all compress yes",
            "change_box all boundary p p p",
            "read_dump atoms.dump 0 x y z add keep box yes",
            f"change_box all boundary {boundary}",
            DUMP,
        ]
        row = [float(word) for word in self._say("\n".join(commands) + "\n")[-1].split()]
        pressure = np.array([row[k] for k in (3, 6, 7, 6, 4, 8, 7, 8, 5)]).reshape(3, 3)
        virial = placed.rotation @ pressure @ placed.rotation.T * row[2] / BAR
        table = np.loadtxt(self._directory / "forces.dump", skiprows=9, ndmin=2)
        return row[1], table[:, 4], table[:, 1:4] @ placed.rotation.T, virial

    def _snapshot(self, placed: Placement, symbols: list[str]) -> str:
        """The file that read_dump reads."""
        xy, xz, yz = tilt = placed.cell[[1, 2, 2], [0, 0, 1]]
        low, high = placed.low, placed.low + np.diag(placed.cell)
        low = np.add(low, [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0])
        high = np.add(high, [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0])
        rows = np.column_stack([low, high, tilt])
        atoms = enumerate(zip(symbols, placed.positions, strict=True), 1)
        return SNAPSHOT.format(
            n_atoms=len(symbols),
            bounds="\n".join(" ".join(f"{value:.17g}" for value in row) for row in rows),
            rows="\n".join(
                f"{k} {self._species.index(symbol) + 1} {x:.17g} {y:.17g} {z:.17g}" for k, (symbol, (x, y, z)) in atoms
            ),
        )

    def close(self) -> None:
        """End LAMMPS, whatever it does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()

    def _listen(self) -> None:
        with self._process.stdout as output:
            for line in output:
                self._lines.put(line.rstrip())
        self._lines.put(None)

    def _say(self, commands: str) -> list[str]:
        """Have the commands done; rows of numbers that LAMMPS printed meanwhile."""
        self._process.stdin.write(commands + 'print "done with it"\n')
        self._process.stdin.flush()
        heard, rows = [], []
        while True:
            line = self._lines.get(timeout=PATIENCE)
            if line is None or line.startswith("ERROR"):
                raise RuntimeError("\n".join(["LAMMPS failed:", *heard[-5:], line or ""]))
            heard.append(line)
            if line == "done with it":
                return rows
            if line.split()[:1] == ["0"] and len(line.split()) == 9:
                rows.append(line)
