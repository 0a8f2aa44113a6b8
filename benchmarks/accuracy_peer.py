"""What every peer's script does for `accuracy.py`; needs Python, NumPy and ASE, which all peers have.

A script is called with one JSON file, the piece of the study: files, minutes, seed, settings and where to put
`errors.json`. It trains with its program's own recommended settings, and hands an ASE calculator to `report`.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator


class Piece(NamedTuple):
    """One training of a study, as `accuracy.py` asks for it."""

    train: str
    """Labelled frames."""
    isolated: str | None
    """Isolated atoms, a frame each, for those that use them."""
    tests: dict[str, str]
    """Files of labelled frames, by name."""
    cost: str | None
    """A frame on which to measure the time of an evaluation."""
    cost_seconds: float
    """CPU time that is spent on that."""
    minutes: float
    """CPU time of the training."""
    seed: int
    folder: str
    """Exists; the working directory."""
    settings: dict[str, Any]
    """What the study says beside the recommended settings; most often nothing."""

    def frames(self) -> list[Atoms]:
        """Those to train on."""
        return ase.io.read(self.train, index=":")

    def isolated_energies(self) -> dict[str, float] | None:
        """eV, by symbol; None where the study gives no isolated atoms."""
        if self.isolated is None:
            return None
        atoms = ase.io.read(self.isolated, index=":")
        return {a.get_chemical_symbols()[0]: float(a.get_potential_energy()) for a in atoms}


def mean_energies(frames: list[Atoms]) -> dict[str, float]:
    """eV, by symbol: the least-squares fit of total energies by composition."""
    symbols = sorted({symbol for atoms in frames for symbol in atoms.symbols})
    counts = np.array([[list(atoms.symbols).count(symbol) for symbol in symbols] for atoms in frames])
    energies = [atoms.get_potential_energy() for atoms in frames]
    return dict(zip(symbols, np.linalg.lstsq(counts, energies, rcond=None)[0].tolist(), strict=True))


class Shifted(Calculator):
    """A calculator, and energies of atoms on top."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, calculator: Calculator, shifts: dict[str, float]) -> None:
        super().__init__()
        self.inner, self.shifts = calculator, shifts

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Energy and forces."""
        super().calculate(atoms, properties, system_changes)
        energy = self.inner.get_property("energy", atoms) + sum(self.shifts[symbol] for symbol in atoms.symbols)
        self.results = {"energy": energy, "forces": self.inner.get_property("forces", atoms)}


def without_shifts(frames: list[Atoms], shifts: dict[str, float]) -> list[Atoms]:
    """Copies with labels under the usual names, energies of atoms taken off."""
    made = []
    for atoms in frames:
        energy = atoms.get_potential_energy() - sum(shifts[symbol] for symbol in atoms.symbols)
        made.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
        made[-1].calc = SinglePointCalculator(made[-1], energy=energy, forces=atoms.get_forces())
    return made


class CpuClock:
    """CPU seconds of this process and of those that it started and that have ended, since it was made."""

    def __init__(self, minutes: float) -> None:
        self.budget = 60.0 * minutes
        self._start = self._now()

    @staticmethod
    def _now() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    @property
    def seconds(self) -> float:
        """By now."""
        return self._now() - self._start

    @property
    def progress(self) -> float:
        """Part of the budget that is spent, at most 1."""
        return min(1.0, self.seconds / self.budget)

    @property
    def spent(self) -> bool:
        """Nothing is left."""
        return self.seconds >= self.budget


def read_piece() -> Piece:
    """The piece that the command line names; its folder becomes the working directory."""
    piece = Piece(**json.loads(Path(sys.argv[1]).read_text()))
    os.chdir(piece.folder)
    return piece


def errors(calculator: Calculator, frames: list[Atoms]) -> dict[str, float]:
    """Root mean squares and means over force components (meV/Å) and over energies an atom (meV)."""
    energy, forces = [], []
    for labelled in frames:
        atoms = labelled.copy()
        atoms.calc = calculator
        energy.append((atoms.get_potential_energy() - labelled.get_potential_energy()) / len(atoms))
        forces.append((atoms.get_forces() - labelled.get_forces()).ravel())
    found = {"forces": np.concatenate(forces), "energy": np.array(energy)}
    units = {"forces": "mev_per_A", "energy": "mev_per_atom"}
    summary = {}
    for quantity, deviations in found.items():
        summary[f"{quantity}_rmse_{units[quantity]}"] = 1e3 * float(np.sqrt(np.mean(deviations**2)))
        summary[f"{quantity}_mae_{units[quantity]}"] = 1e3 * float(np.mean(np.abs(deviations)))
    return summary


def cost(evaluate: Callable[[], object], n_atoms: int, seconds: float) -> float:
    """CPU microseconds an atom of energies and forces: the fastest of five rounds, which take `seconds` in all."""
    evaluate()
    start = time.process_time()
    evaluate()
    calls = max(1, round(seconds / 5 / max(1e-6, time.process_time() - start)))
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(calls):
            evaluate()
        rounds.append((time.process_time() - start) / calls)
    return 1e6 * min(rounds) / n_atoms


def report(
    piece: Piece,
    calculator: Calculator,
    seconds: float,
    evaluation: Callable[[Atoms], Callable[[], object]] | None = None,
    **more: Any,
) -> None:
    """Judge on all tests and write `errors.json`; `more` is what else a reader wants to know, such as epochs.

    `seconds` are the CPU time of the training. `evaluation` makes, for a frame, a call that computes energy and forces
    with the list of neighbours at hand: as an engine does in dynamics.
    """
    found: dict[str, Any] = {"cpu_minutes": seconds / 60.0, **more}
    found["tests"] = {name: errors(calculator, ase.io.read(path, index=":")) for name, path in piece.tests.items()}
    _write(found)  # the training is not lost where the cost cannot be measured
    if piece.cost is not None and evaluation is not None:
        atoms = ase.io.read(piece.cost)
        found["us_per_atom"] = cost(evaluation(atoms), len(atoms), piece.cost_seconds)
        _write(found)


def _write(found: dict[str, Any]) -> None:
    Path("errors.part").write_text(json.dumps(found, indent=1))
    Path("errors.part").rename("errors.json")
