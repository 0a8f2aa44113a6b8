"""Quantum nuclei: kinetic energies by path-integral molecular dynamics."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.socketio import SocketClient

from ..calibration import Array
from .error_bars import LEVEL, TOLERANCE, Counted, Report, uncounted
from .finding import Finding, scalar
from .options import only_structure, option, require_installed, require_positive
from .pictures import bars
from .property import Property
from .relaxation import relaxed
from .reweighting import averaged, report_of
from .samples import Samples

INPUT = """
<simulation verbosity='quiet' safe_stride='1000000'>
  <output prefix='run'>
    <trajectory stride='{every}' filename='beads' format='xyz'> positions{{angstrom}} </trajectory>
  </output>
  <total_steps> {n_steps} </total_steps>
  <prng> <seed> {seed} </seed> </prng>
  <ffsocket name='potential' mode='unix'>
    <address> {address} </address> <latency> 1e-4 </latency>
  </ffsocket>
  <system>
    <initialize nbeads='{n_beads}'>
      <file mode='xyz'> start.xyz </file>
      <masses mode='manual' units='dalton'> {masses} </masses>
      <velocities mode='thermal' units='kelvin'> {temperature} </velocities>
    </initialize>
    <forces> <force forcefield='potential'/> </forces>
    <ensemble> <temperature units='kelvin'> {temperature} </temperature> </ensemble>
    <motion mode='dynamics'>
      <fixcom> False </fixcom>
      <dynamics mode='nvt'>
        <timestep units='femtosecond'> {timestep} </timestep>
        <thermostat mode='pile_l'> <tau units='femtosecond'> {damping} </tau> </thermostat>
      </dynamics>
    </motion>
  </system>
</simulation>
"""
BOX = 200.0
"""Å, for directions that are not periodic: i-PI wants a cell, which the potential does not see."""


@dataclass(frozen=True)
class PathIntegral(Property):
    """i-PI (Litman et al., J. Chem. Phys. 161, 062504 (2024)) moves a ring of `n_beads` copies with the thermostat of
    Ceriotti et al. (J. Chem. Phys. 133, 124104 (2010)); the mean potential is its client, by ASE's socket.

    Found is the kinetic energy an atom of each species (meV, as `kinetic H`; classically 3/2 kT), by the centroid
    virial of the same reference, and its ratio to the classical one for all atoms (`quantum/classical`)::

        K_i = 3/2 kT - 1/(2 P) sum_p (r_ip - mean r_i) . F_ip

    Frames are reweighted to each member, whose own forces enter K; std and interval hold the statistical error from
    `n_blocks` blocks too. Energies converge with the number of beads: n_beads should be several times the highest
    vibrational quantum divided by kT (some 32 for O-H at 300 K). What is free keeps its centre of mass moving.
    """

    text: ClassVar[str] = "quantum kinetic energies of nuclei by path integrals (i-PI)"

    temperature: float = option(300.0, "K")
    n_beads: int = option(16, "copies of the system")
    timestep: float = option(0.5, "fs")
    n_steps: int = option(2000, "steps after equilibration")
    n_equilibration: int = option(400, "steps before")
    every: int = option(10, "steps between two frames that count")
    damping: float = option(100.0, "time of the thermostat, fs")
    n_blocks: int = option(8, "for statistical errors")
    fmax: float = option(0.01, "largest force left by the relaxation before, eV/Å")
    seed: int = option(1, "of velocities and the thermostat")

    def __post_init__(self) -> None:
        """Raise `ValueError` for settings out of range."""
        require_positive(self, "temperature", "n_beads", "timestep", "n_steps", "every", "damping", "fmax")
        if self.n_blocks < 2 or self.n_steps // self.every < self.n_blocks:
            raise ValueError(
                f"n_blocks = {self.n_blocks}, n_steps = {self.n_steps}, every = {self.every}; allowed are 2 blocks or "
                "more, of a frame at least"
            )

    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        """See `Property`: a trajectory of this potential, with no error bar. Needs i-PI."""
        return self.measure(Samples(calculator, []), structures).finding

    def measure(
        self,
        samples: Samples,
        structures: Sequence[Atoms],
        level: float = LEVEL,
        tolerance: float = TOLERANCE,
        counted: Counted = uncounted,
    ) -> Report:
        """One trajectory, reweighted."""
        require_installed("ipi")
        start = relaxed(samples.mean, only_structure(structures, "a path integral"), self.fmax)
        frames = self._beads(start, counted)[self.n_equilibration // self.every :]
        potentials = [samples.mean, *samples.members]
        found = [
            [_energy_and_virial(potential, start, beads) for potential in potentials]
            for beads in counted(frames, "members", "frame")
        ]
        energies = np.array([[energy for energy, _ in row] for row in found])  # [n, 1 + M]
        virials = np.array([[virial for _, virial in row] for row in found])  # [n, 1 + M, N]
        classical = 1.5 * units.kB * self.temperature
        kinetic = classical + virials
        deviations = energies[:, 1:] - energies[:, :1]
        symbols = np.array(start.get_chemical_symbols())
        groups = {f"kinetic {symbol}": (symbols == symbol, 1e3, "meV") for symbol in sorted(set(symbols))}
        groups["quantum/classical"] = (np.full(len(symbols), True), 1.0 / classical, "")
        averages, quantities = {}, {}
        for name, (atoms, factor, unit) in groups.items():
            values = factor * kinetic[:, :, atoms].mean(axis=2)
            averages[name] = averaged(values[:, 0], values[:, 1:], deviations, self.temperature, self.n_blocks)
            quantities[name] = scalar(float(averages[name].value), unit)
        visited = [_geometry(start, beads[0]) for beads in frames[:: max(1, len(frames) // 20)]]
        finding = Finding(quantities, visited, [start], {"classical": np.array(1e3 * classical)})
        return report_of(samples, finding, averages, deviations, self.temperature, self.n_blocks, level, tolerance)

    def _beads(self, start: Atoms, counted: Counted) -> Array:
        """[n, P, N, 3] in Å, from the beginning."""
        n_steps = self.n_equilibration + self.n_steps
        address = f"mollifield-{os.getpid()}-{id(start)}"
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "start.xyz").write_text(_start(start))
            values = {name: getattr(self, name) for name in ("every", "seed", "n_beads", "temperature", "timestep")}
            text = INPUT.format(
                n_steps=n_steps, address=address, masses=start.get_masses().tolist(), damping=self.damping, **values
            )
            (folder / "input.xml").write_text(text)
            with _running(folder) as server:
                self._serve(server, address, start, counted, self.n_beads * (n_steps + 1))
            files = sorted(folder.glob("run.beads_*.xyz"))
            beads = [_read(path, len(start)) for path in files]
        n_frames = min(map(len, beads), default=0)
        if n_frames <= self.n_equilibration // self.every:
            raise ValueError(f"i-PI wrote {n_frames} frames of {n_steps // self.every}")
        return np.stack([one[:n_frames] for one in beads], axis=1)

    def _serve(
        self, server: "subprocess.Popen[str]", address: str, start: Atoms, counted: Counted, n_calls: int
    ) -> None:
        """Answer i-PI until it has all its steps."""
        atoms = start.copy()
        atoms.calc = start.calc
        socket = Path(f"/tmp/ipi_{address}")
        while not socket.exists():
            if server.poll() is not None:
                raise ValueError(f"i-PI ended at once: {server.communicate()[0][-2000:]}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.05)
        client = SocketClient(unixsocket=address)
        for _ in counted(client.irun(atoms, use_stress=False), "path integral", "force", n_calls):
            pass
        server.wait(30.0)

    def draw(self, report: Report, figure: Any) -> None:
        """Kinetic energies beside the classical one."""
        names = [name for name, found in report.estimates.items() if found.unit == "meV"]
        found = [report.estimates[name] for name in names]
        axes = figure.subplots()
        intervals = [float(one.interval) for one in found if one.interval is not None]
        bars(axes, names, [float(one.value) for one in found], intervals or None)
        axes.axhline(float(report.finding.curves["classical"]), color="black", linestyle="--")
        axes.set(ylabel="kinetic energy of an atom (meV), dashed: classical")


@contextlib.contextmanager
def _running(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """i-PI in `folder`, ended with the block."""
    program = shutil.which("i-pi") or shutil.which("i-pi", path=str(Path(sys.executable).parent))
    if program is None:
        raise ValueError("the program i-pi is not on the PATH; pip install 'mollifield[properties]' brings it")
    with subprocess.Popen(
        [sys.executable, program, "input.xml"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            yield server
        finally:
            server.kill()


def _start(atoms: Atoms) -> str:
    """i-PI's xyz, with its cell in the frame of the atoms."""
    vectors = np.where(atoms.pbc[:, None], atoms.cell.array, BOX * np.eye(3))
    cell = " ".join(f"{x:.12g}" for x in vectors.T.ravel())
    lines = [
        f"{symbol} " + " ".join(f"{x:.12g}" for x in position)
        for symbol, position in zip(atoms.symbols, atoms.positions, strict=True)
    ]
    return "\n".join([str(len(atoms)), f"# CELL(H): {cell} cell{{angstrom}} positions{{angstrom}}", *lines, ""])


def _read(path: Path, n_atoms: int) -> Array:
    """[n, N, 3]: whole frames of i-PI's xyz."""
    lines = path.read_text().splitlines()
    n = len(lines) // (n_atoms + 2)
    frames = [lines[k * (n_atoms + 2) + 2 : (k + 1) * (n_atoms + 2)] for k in range(n)]
    return np.array([[line.split()[1:4] for line in frame] for frame in frames], dtype=np.float64)


def _geometry(start: Atoms, positions: Array) -> Atoms:
    atoms = start.copy()
    atoms.positions = positions
    return atoms


def _energy_and_virial(potential: Calculator, start: Atoms, beads: Array) -> tuple[float, Array]:
    """Of the ring `[P, N, 3]`, in eV: the mean energy of its beads, and -1/(2 P) sum_p (r_p - centroid) . F_p `[N]`."""
    centroid = beads.mean(axis=0)
    energies, virials = [], []
    for positions in beads:
        atoms = _geometry(start, positions)
        energies.append(potential.get_potential_energy(atoms))
        virials.append(-0.5 * np.sum((positions - centroid) * potential.get_forces(atoms), axis=1))
    return float(np.mean(energies)), np.mean(virials, axis=0)
