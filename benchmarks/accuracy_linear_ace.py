"""Linear ACE's side of accuracy.py: the design matrix of python-ace, ridge regression on energies and forces.

The basis is that of the `pacemaker -t` template with one linear density in place of two, as many functions an element
as FUNCTIONS says; blocks, radial functions and the cutoff are the template's. Ridge strength and weight of energies are
chosen on a tenth of the frames, and the model is then fitted to all of them. It takes the time that it takes.
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
CUTOFF = 6.0
ALPHAS = [10.0**k for k in range(-9, -1)]
"""Ridge strengths, in units of the mean diagonal element of the normal matrix."""
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
        self.matrix = data.get_design_matrix(max_workers=1)
        self.labels = data.get_target_vector()
        self.n_energies = len(frames)

    def normal(self, energy_weight: float) -> tuple[np.ndarray, np.ndarray]:
        """Normal matrix and right-hand side."""
        parts = [(slice(None, self.n_energies), energy_weight**2), (slice(self.n_energies, None), 1.0)]
        square = sum(w * self.matrix[rows].T @ self.matrix[rows] for rows, w in parts)
        return square, sum(w * self.matrix[rows].T @ self.labels[rows] for rows, w in parts)

    def errors(self, weights: np.ndarray) -> tuple[float, float]:
        """Root mean squares of forces (eV/Å) and of energies an atom (eV)."""
        squares = (self.matrix @ weights - self.labels) ** 2
        return float(np.sqrt(squares[self.n_energies :].mean())), float(np.sqrt(squares[: self.n_energies].mean()))


def solve(square: np.ndarray, right: np.ndarray, alpha: float) -> np.ndarray:
    """Ridge regression, functions scaled to equal diagonal elements."""
    scale = 1.0 / np.sqrt(np.diag(square) + 1e-12 * np.diag(square).max())
    scaled = square * scale * scale[:, None]
    scaled[np.diag_indices_from(scaled)] += alpha
    return scale * cho_solve(cho_factor(scaled, overwrite_a=True), scale * right)


def choose(training: Rows, validation: Rows) -> tuple[float, float]:
    """Weight of energies and ridge strength."""
    found = []
    for energy_weight in ENERGY_WEIGHTS:
        square, right = training.normal(energy_weight)
        for alpha in ALPHAS:
            try:
                forces, energy = validation.errors(solve(square, right, alpha))
            except np.linalg.LinAlgError:
                continue
            print(
                f"weight {energy_weight:g}, alpha {alpha:g}: {1e3 * forces:.2f} meV/Å, {1e3 * energy:.3f} meV",
                flush=True,
            )
            found.append((energy, forces, energy_weight, alpha))
    lowest = min(forces for _, forces, _, _ in found)
    return min(item for item in found if item[1] <= WORST_FORCES * lowest)[2:]


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
    order = np.random.default_rng(piece.seed).permutation(len(frames))
    left_out = set(order[: len(frames) // 10].tolist())
    functions = piece.settings.get("functions", FUNCTIONS)
    basis_set = ACEBBasisSet(basis(sorted(shifts), functions, piece.settings.get("cutoff", CUTOFF)))
    training = Rows(basis_set, [atoms for i, atoms in enumerate(frames) if i not in left_out])
    validation = Rows(basis_set, [atoms for i, atoms in enumerate(frames) if i in left_out])
    print(f"{training.matrix.shape} after {clock.seconds / 60:.1f} CPU minutes", flush=True)
    energy_weight, alpha = choose(training, validation)
    both = [a + b for a, b in zip(training.normal(energy_weight), validation.normal(energy_weight), strict=True)]
    basis_set.basis_coeffs = solve(*both, alpha)
    seconds = clock.seconds
    basis_set.to_ACECTildeBasisSet().save_yaml("model.yace")
    calculator = PyACECalculator("model.yace", recursive_evaluator=True, recursive=True)
    chosen = {"functions": training.matrix.shape[1], "energy_weight": energy_weight, "alpha": alpha}
    report(piece, Shifted(calculator, shifts), seconds, evaluation(calculator), **chosen)


if __name__ == "__main__":
    main()
