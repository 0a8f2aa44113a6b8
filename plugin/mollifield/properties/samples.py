"""A potential and what it might be as well: the mean of a model file, and its members."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from scipy import stats

from .. import contract, uncertainty
from ..artefact import read_posterior
from ..ase_calculator import MollifieldCalculator
from ..calibration import Array
from ..potential import Evaluation, evaluate
from .finding import Calibrated

LEAST = 1e-9
"""eV/Å, eV: for stds that are zero by symmetry, the limit of the calibration."""


@dataclass(frozen=True)
class Samples:
    """A potential and what it might be as well. Of any ASE calculators; of a model file: `samples_of`."""

    mean: Calculator
    members: Sequence[Calculator]
    """None of them: values come without error bars."""
    in_pairs: bool = False
    """Members come in pairs about the mean."""
    calibration_factors: Callable[[Sequence[Atoms]], dict[Calibrated, float]] | None = None
    """Of stds, for a calculation that visited these structures; None: uncalibrated."""
    outside: Callable[[Atoms], Array] | None = None
    """`[N]`, above 0 for atoms that no training atom resembles; None: not known."""

    energies: Callable[[Atoms], Array] | None = None
    """`[M]`, eV: those of all members at once; None: one after the other."""

    def factors_of(self, visited: Sequence[Atoms]) -> dict[Calibrated, float]:
        """Of stds of a calculation that visited these; empty where there is no calibration."""
        return {} if self.calibration_factors is None else self.calibration_factors(visited)

    def member_energies(self, atoms: Atoms) -> Array:
        """`[M]`, eV."""
        if self.energies is not None and self.members:
            return self.energies(atoms)
        return np.array([calculator.get_potential_energy(atoms) for calculator in self.members])

    def interval_multiple(self, n_members: int, level: float) -> float:
        """By what a std over `n_members` is multiplied to half the interval of `level`."""
        freedom = n_members // 2 if self.in_pairs else n_members - 1
        quantile = float(stats.t.ppf(0.5 + level / 2.0, freedom))
        return quantile * (1.0 if self.in_pairs else (1.0 + 1.0 / n_members) ** 0.5)


def samples_of(calculator: MollifieldCalculator, with_members: bool = True) -> Samples:
    """The samples in a model file, with its calibration and training data.

    Raises `ValueError` for a file of one member, unless `with_members` is off.
    """
    artefact = calculator.artefact
    if with_members and artefact.n_members < 2:
        raise ValueError(
            f"{artefact.path}: one member has no error bar; make samples with `mollifield posterior`, or ask for "
            "values alone (--no-error-bar)"
        )

    def evaluated(atoms: Atoms, members: bool) -> Evaluation:
        symbols = atoms.get_chemical_symbols()
        return evaluate(artefact, symbols, atoms.positions, atoms.cell.array, atoms.pbc, members=members)

    def factors(structures: Sequence[Atoms]) -> dict[Calibrated, float]:
        calibration, of_forces, of_energies = artefact.calibration, [], []
        for atoms in structures:
            out = evaluated(atoms, members=True)
            raw = uncertainty.forces_std(uncertainty.forces_covariance(out.forces.cpu().numpy()))
            raw = np.maximum(raw, LEAST)
            of_forces.append(calibration.force_std(raw, out.types.cpu().numpy()) / raw)
            total = max(float(uncertainty.energy_std(out.energies.cpu().numpy())), LEAST)
            of_energies.append(calibration.energy_std(total, len(atoms)) / total)
        forces = float(np.sqrt(np.mean(np.square(np.concatenate(of_forces)))))
        return {"forces": forces, "energy": max(forces, float(np.sqrt(np.mean(np.square(of_energies)))))}

    def outside(atoms: Atoms) -> Array:
        out = evaluated(atoms, members=False)
        return np.asarray(uncertainty.outside_std(artefact.latent_space, out.latent, out.types).cpu().numpy())

    return Samples(
        mean=calculator,
        members=[calculator.member(k) for k in range(artefact.n_members)] if with_members else [],
        in_pairs=read_posterior(artefact) is not None,
        calibration_factors=None if artefact.calibration.force_knots is None or not with_members else factors,
        energies=lambda atoms: np.asarray(evaluated(atoms, members=False).energies.cpu().numpy()),
        outside=outside if contract.LATENT_REACH in artefact.latent_space else None,
    )
