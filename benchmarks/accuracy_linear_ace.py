"""Linear ACE's side of accuracy.py: the design matrix of python-ace, ridge regression on energies and forces.

The basis is that of the `pacemaker -t` template with one linear density in place of two, as many functions an element
as FUNCTIONS says; blocks and radial functions are the template's. Ridge strength and weight of energies are chosen by
cross-validation between parts of the file, since frames of a trajectory are like their neighbours, and the model is
then fitted to all frames. It takes the time that it takes.
"""

import numpy as np
import pandas as pd
from accuracy_peer import CpuClock, Shifted, mean_energies, read_piece, report, without_shifts
from ase import Atoms
from pyace import ACEBBasisSet, PyACECalculator, create_multispecies_basis_config
from pyace.atomicenvironment import aseatoms_to_atomicenvironment
from pyace.linearacefit import LinearACEDataset
from scipy.linalg import cho_factor, cho_solve

FUNCTIONS = 1000
"""An element."""
CUTOFF = 5.0
"""Å."""
FOLDS = 4
ALPHAS = [10.0**k for k in range(-10, -2)]
"""Ridge strengths, beside functions scaled to equal diagonal elements of the normal matrix."""
ENERGY_WEIGHTS = [1.0, 10.0]
"""Of the residual of the energy an atom (eV), beside force components (eV/Å)."""
WORST_FORCES = 1.02
"""Of weights and strengths, whose force error is at most this times the lowest, the one of the lowest energy error."""


def basis(elements: list[str], functions: int, cutoff: float):
    """Untrained."""
    return create_multispecies_basis_config(
        {
            "deltaSplineBins": 0.001,
            "elements": elements,
            "embeddings": {"ALL": {"npot": "FinnisSinclairShiftedScaled", "fs_parameters": [1, 1], "ndensity": 1}},
            "bonds": {
                "ALL": {
                    "radbase": "SBessel",
                    "radparameters": [5.25],
                    "rcut": cutoff,
                    "dcut": 0.01,
                    "NameOfCutoffFunction": "cos",
                }
            },
            "functions": {
                "number_of_functions_per_element": functions,
                "UNARY": {"nradmax_by_orders": [15, 6, 4, 3, 2, 2], "lmax_by_orders": [0, 3, 3, 2, 2, 1]},
                "BINARY": {"nradmax_by_orders": [15, 6, 3, 2, 2, 1], "lmax_by_orders": [0, 3, 2, 1, 1, 0]},
                "TERNARY": {"nradmax_by_orders": [15, 3, 3, 2, 1], "lmax_by_orders": [0, 2, 2, 1, 1]},
                "ALL": {"nradmax_by_orders": [15, 3, 2, 1, 1], "lmax_by_orders": [0, 2, 2, 1, 1]},
            },
        }
    )


class Rows:
    """Design matrix and labels of some frames: energies an atom (eV) first, then force components (eV/Å)."""

    def __init__(self, basis_set: ACEBBasisSet, frames: list[Atoms]) -> None:
        table = {
            "ase_atoms": frames,
            "energy": [atoms.get_potential_energy() for atoms in frames],
            "forces": [atoms.get_forces() for atoms in frames],
        }
        data = LinearACEDataset(basis_set, pd.DataFrame(table))
        matrix, labels = data.get_design_matrix(max_workers=1), data.get_target_vector()
        n = len(frames)
        self.energies, self.forces = (matrix[:n], labels[:n]), (matrix[n:], labels[n:])
        self.normal = [(a.T @ a, a.T @ b) for a, b in (self.energies, self.forces)]

    def errors(self, weights: np.ndarray) -> np.ndarray:
        """Sums of squares over energies an atom (eV²) and over force components ((eV/Å)²)."""
        return np.array([np.sum((a @ weights - b) ** 2) for a, b in (self.energies, self.forces)])


def normal_of(parts: list[Rows], energy_weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal matrix and right-hand side."""
    weights = (energy_weight**2, 1.0)
    square, right = zip(*[part.normal[i] for part in parts for i in range(2)], strict=True)
    return tuple(sum(weights[i % 2] * term for i, term in enumerate(terms)) for terms in (square, right))


def solve(square: np.ndarray, right: np.ndarray, alpha: float) -> np.ndarray:
    """Ridge regression, functions scaled to equal diagonal elements."""
    scale = 1.0 / np.sqrt(np.diag(square) + 1e-12 * np.diag(square).max())
    scaled = square * scale * scale[:, None]
    scaled[np.diag_indices_from(scaled)] += alpha
    return scale * cho_solve(cho_factor(scaled, overwrite_a=True), scale * right)


def choose(folds: list[Rows]) -> tuple[float, float]:
    """Weight of energies and ridge strength, by the errors on each fold of a model of the others."""
    sums: dict[tuple[float, float], np.ndarray] = {}
    for fold in folds:
        others = [other for other in folds if other is not fold]
        for energy_weight in ENERGY_WEIGHTS:
            square, right = normal_of(others, energy_weight)
            for alpha in ALPHAS:
                try:
                    found = fold.errors(solve(square, right, alpha))
                except np.linalg.LinAlgError:
                    found = np.full(2, np.inf)
                sums[energy_weight, alpha] = sums.get((energy_weight, alpha), np.zeros(2)) + found
    counts = np.array([[len(labels) for _, labels in (fold.energies, fold.forces)] for fold in folds]).sum(axis=0)
    errors = {choice: np.sqrt(found / counts) for choice, found in sums.items()}
    for (energy_weight, alpha), (energy, forces) in errors.items():
        print(f"weight {energy_weight:g}, alpha {alpha:g}: {1e3 * forces:.2f} meV/Å, {1e3 * energy:.3f} meV")
    lowest = min(forces for _, forces in errors.values())
    return min((c for c in errors if errors[c][1] <= WORST_FORCES * lowest), key=lambda choice: errors[choice][0])


def evaluation(calculator: PyACECalculator):
    """Of a frame: the evaluator of LAMMPS on its neighbours."""

    def of(atoms: Atoms):
        environment = aseatoms_to_atomicenvironment(
            atoms, cutoff=calculator.cutoff, elements_mapper_dict=calculator.elements_mapper_dict
        )
        return lambda: calculator.ace.compute(environment, False)

    return of


def main() -> None:
    """Solve, judge."""
    piece = read_piece()
    clock = CpuClock(piece.minutes)
    frames = piece.frames()
    shifts = mean_energies(frames)
    frames = without_shifts(frames, shifts)
    functions = piece.settings.get("functions", FUNCTIONS)
    basis_set = ACEBBasisSet(basis(sorted(shifts), functions, piece.settings.get("cutoff", CUTOFF)))
    folds = [Rows(basis_set, frames[part[0] : part[-1] + 1]) for part in np.array_split(np.arange(len(frames)), FOLDS)]
    n_functions = len(folds[0].normal[0][1])
    print(f"{n_functions} functions after {clock.seconds / 60:.1f} CPU minutes", flush=True)
    energy_weight, alpha = choose(folds)
    basis_set.basis_coeffs = solve(*normal_of(folds, energy_weight), alpha)
    seconds = clock.seconds
    basis_set.to_ACECTildeBasisSet().save_yaml("model.yace")
    calculator = PyACECalculator("model.yace", recursive_evaluator=True, recursive=True)
    chosen = {"functions": n_functions, "energy_weight": energy_weight, "alpha": alpha}
    report(piece, Shifted(calculator, shifts), seconds, evaluation(calculator), **chosen)


if __name__ == "__main__":
    main()
