"""sGDML's side of accuracy.py: for one molecule whose atoms are always in the same order.

What `sgdml all` does: the length scale that is best on frames left out (every ninth), from its default range, with the
permutations that it finds; the model of the smaller set is kept. It takes the time that it takes.
"""

import numpy as np
from accuracy_peer import CpuClock, Piece, read_piece, report
from ase.calculators.calculator import Calculator, all_changes
from sgdml.predict import GDMLPredict
from sgdml.train import GDMLTrain
from sgdml.utils import io

SIGMAS = range(10, 100, 10)
"""`sgdml all` without `--sig`."""
VALID_FRACTION = 1 / 9


class SgdmlCalculator(Calculator):
    """The model was trained in eV and Å."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, model):
        super().__init__()
        self.predictor = GDMLPredict(model, max_processes=1)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, forces = self.predictor.predict(atoms.positions.ravel())
        self.results = {"energy": float(energy[0]), "forces": forces.reshape(-1, 3)}


def dataset(piece: Piece) -> dict:
    """The frames in sGDML's own form."""
    frames = piece.frames()
    made = {
        "type": "d",
        "code_version": "accuracy",
        "name": np.array("study"),
        "theory": np.array("unknown"),
        "z": frames[0].numbers,
        "R": np.array([atoms.positions for atoms in frames]),
        "E": np.array([atoms.get_potential_energy() for atoms in frames]),
        "F": np.array([atoms.get_forces() for atoms in frames]),
        "r_unit": "Ang",
        "e_unit": "eV",
    }
    made["md5"] = io.dataset_md5(made)
    return made


def validation_error(model, frames: dict, indices: np.ndarray) -> float:
    """Root mean square of force components, eV/Å."""
    predictor = GDMLPredict(model, max_processes=1)
    _, forces = predictor.predict(frames["R"][indices].reshape(len(indices), -1))
    return float(np.sqrt(np.mean((forces - frames["F"][indices].reshape(len(indices), -1)) ** 2)))


def main() -> None:
    """Search, judge."""
    piece = read_piece()
    np.random.seed(piece.seed)
    clock = CpuClock(piece.minutes)
    frames = dataset(piece)
    n_valid = round(VALID_FRACTION * len(frames["E"]))
    trainer = GDMLTrain(max_processes=1)
    task = trainer.create_task(frames, len(frames["E"]) - n_valid, frames, n_valid, sig=SIGMAS[0])
    found = []
    for sigma in piece.settings.get("sigmas", SIGMAS):
        model = trainer.train(task | {"sig": sigma})
        found.append((validation_error(model, frames, task["idxs_valid"]), sigma, model))
        print(f"sigma {sigma}: {1e3 * found[-1][0]:.2f} meV/Å after {clock.seconds / 60:.1f} CPU minutes", flush=True)
        found = [min(found, key=lambda item: item[0])]
    _, sigma, model = found[0]
    seconds = clock.seconds
    report(piece, SgdmlCalculator(model), seconds, sigma=sigma, permutations=len(model["perms"]))


if __name__ == "__main__":
    main()
