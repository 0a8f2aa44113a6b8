"""Path integrals of harmonic oscillators, in closed form for any number of beads."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

from mollifield.properties import PathIntegral, Samples

STIFFNESS, TEMPERATURE, N_BEADS = 30.0, 300.0, 4
"""eV/Å², K."""
KT = units.kB * TEMPERATURE


class Well(Calculator):
    """k/2 r² for each atom."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, stiffness: float) -> None:
        super().__init__()
        self.stiffness = stiffness

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        x = self.atoms.positions
        self.results = {"energy": 0.5 * self.stiffness * (x**2).sum(), "forces": -self.stiffness * x}


def kinetic(mass: float) -> float:
    """meV an atom, of a ring of beads: 3/2 kT sum_k w² / (w² + w_k²), w_k = 2 P kT / hbar sin(k pi / P)."""
    hbar = units._hbar * units.J * units.s
    squared = STIFFNESS / mass
    modes = 2.0 * N_BEADS * KT / hbar * np.sin(np.arange(N_BEADS) * np.pi / N_BEADS)
    return float(1.5e3 * KT * np.sum(squared / (squared + modes**2)))


def test_oscillators() -> None:
    """Two masses, in wells that are as members have them, stiffer or softer by 5%."""
    pytest.importorskip("ipi")
    atoms = Atoms("HO", np.zeros((2, 3)))
    samples = Samples(Well(STIFFNESS), [Well(factor * STIFFNESS) for factor in (0.95, 1.05)])
    calculation = PathIntegral(
        temperature=TEMPERATURE,
        n_beads=N_BEADS,
        timestep=0.8,
        n_steps=400,
        n_equilibration=40,
        every=3,
        damping=8.0,
        n_blocks=6,
    )
    report = calculation.measure(samples, [atoms])
    assert not report.doubts
    for symbol, mass in zip("HO", atoms.get_masses(), strict=True):
        found, exact = report.estimates[f"kinetic {symbol}"], kinetic(mass)
        assert exact > 1.5 * 1.5e3 * KT  # far from classical
        assert float(found.value) == pytest.approx(exact, rel=0.12)
        assert found.members[0] < found.members[1]
        assert found.std is not None and found.std >= np.std(found.members, ddof=1)
    ratio = report.estimates["quantum/classical"]
    mean = np.mean([float(report.estimates[f"kinetic {symbol}"].value) for symbol in "HO"])
    assert float(ratio.value) == pytest.approx(mean / (1.5e3 * KT))


def test_a_missing_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipi")
    monkeypatch.setattr("shutil.which", lambda *arguments, **named: None)
    with pytest.raises(ValueError, match="i-pi is not on the PATH"):
        PathIntegral()(Well(STIFFNESS), [Atoms("H", [[0.0, 0.0, 0.0]])])
