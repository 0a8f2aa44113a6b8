"""Energies of the species: from isolated atoms, as given, or fitted to the frames.

Where compositions do not tell species apart (frames of one molecule only), the fit has many solutions. All agree on
every composition of the frames; the one taken is explained at `_likely`, and the species are named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers

from .frames import Frame
from .summary import Summary

SAME_ENERGY = 1e-3
"""eV. Isolated atoms of one element whose energies differ by more contradict each other."""
LEAST_GUESS = 1.0
"""eV. No guessed energy of a species is taken for better than this: bonds are worth as much."""


@dataclass(frozen=True)
class Shifts:
    """Energies of species, in the order of a model's species."""

    energies: list[float]
    """eV."""
    fitted: list[str]
    """Species whose energy is a fit, to be fitted again to what is left after training; the others are given."""
    undetermined: list[str]
    """Those of them that the compositions of the frames do not tell apart."""
    unseen: list[list[float]]
    """[k, species], eV: changes of the energies that no frame sees, each as long as the undetermined energies are in
    root mean square (UNDETERMINED_COMPOSITIONS_KEY of `mollifield.contract`)."""


def energy_shifts(
    frames: Sequence[Summary], isolated: Sequence[Summary], species: Sequence[str], method: str | Mapping[str, float]
) -> Shifts:
    """Energies of species by `method`, see `ModelConfig.shifts`.

    Raises ValueError if a species has no given shift or no isolated atom where it needs one, and if two isolated atoms
    of an element differ.
    """
    known = given_shifts(isolated, method)
    missing = [symbol for symbol in species if symbol not in known]
    if missing and method not in ("auto", "least_squares"):
        where = "the isolated atoms of data.train" if isinstance(method, str) else "model.shifts"
        raise ValueError(f"no energy shift for {', '.join(missing)} in {where}; present: {', '.join(known) or 'none'}")
    labelled = [frame for frame in frames if frame.energy is not None]
    given = [symbol for symbol in species if symbol in known]
    counts, _ = composition_counts(labelled, given)
    energies = np.array([frame.energy for frame in labelled]) - counts @ [known[symbol] for symbol in given]
    fitted = least_squares_shifts(labelled, energies[None], missing)[0]
    values = known | dict(zip(missing, fitted.tolist(), strict=True))
    shifts = np.array([values[symbol] for symbol in species], dtype=float)
    undetermined = undetermined_species(labelled, missing)
    return Shifts(shifts.tolist(), missing, undetermined, _unseen(labelled, species, missing, undetermined, shifts))


def given_shifts(isolated: Sequence[Summary], method: str | Mapping[str, float]) -> dict[str, float]:
    """Energies that are not to be fitted, by chemical symbol."""
    if not isinstance(method, str):
        return dict(method)
    known: dict[str, tuple[float, str]] = {}
    if method == "least_squares":
        return {}
    for frame in isolated:
        if frame.energy is None:
            continue
        energy, origin = known.setdefault(next(iter(frame.composition)), (frame.energy, frame.origin))
        if abs(energy - frame.energy) > SAME_ENERGY:
            raise ValueError(
                f"isolated atoms of one element contradict each other: {energy} eV in {origin}, "
                f"{frame.energy} eV in {frame.origin}"
            )
    return {symbol: energy for symbol, (energy, _) in known.items()}


def undetermined_species(frames: Sequence[Summary | Frame], species: Sequence[str]) -> list[str]:
    """Species whose energies could be traded for each other's without a change to any of `frames`."""
    kernel = _null_space(_fractions(frames, species)[0])
    return [symbol for symbol, column in zip(species, kernel.T, strict=True) if np.abs(column).max(initial=0.0) > 1e-6]


def _unseen(
    frames: Sequence[Summary],
    species: Sequence[str],
    fitted: Sequence[str],
    undetermined: Sequence[str],
    shifts: np.ndarray,
) -> list[list[float]]:
    """See `Shifts.unseen`: a guess may be wrong by as much as it is, and by `LEAST_GUESS` where all are small."""
    kernel = _null_space(_fractions(frames, fitted)[0])
    rows = np.zeros((len(kernel), len(species)))
    rows[:, [species.index(symbol) for symbol in fitted]] = kernel
    guessed = shifts[[species.index(symbol) for symbol in undetermined]]
    size = max(LEAST_GUESS, float(np.sqrt(np.mean(guessed**2)))) if len(rows) else 1.0
    found: list[list[float]] = (size * rows).tolist()
    return found


def least_squares_shifts(frames: Sequence[Summary], energies: np.ndarray, species: Sequence[str]) -> np.ndarray:
    """Energies of species [K, species] that explain `energies` [K, frames] of compositions best.

    Squares of errors an atom; where these leave a choice, `_likely` makes it.
    """
    fractions, n_atoms = _fractions(frames, species)
    targets = energies / n_atoms
    shifts = np.array([np.linalg.lstsq(fractions, target, rcond=1e-8)[0] for target in targets])
    return _likely(shifts, _null_space(fractions), species)


def least_absolute_shifts(
    frames: Sequence[Summary], energies: np.ndarray, species: Sequence[str], iterations: int = 50
) -> np.ndarray:
    """The same for the least sum of absolute errors an atom, [K, species], and the least norm where there is a choice.

    A few frames with large errors (broken molecules, say) do not pull the others along. By
    iteratively reweighted least squares: each frame counts with 1 / |its error|.
    """
    fractions, n_atoms = _fractions(frames, species)
    targets = energies / n_atoms
    floor = 1e-6  # eV/atom: below it an error counts as none
    shifts = []
    for target in targets:
        weights = np.ones(len(frames))
        for _ in range(iterations):
            root = np.sqrt(weights)
            found, *_ = np.linalg.lstsq(fractions * root[:, None], target * root, rcond=1e-8)
            weights = 1.0 / np.maximum(np.abs(target - fractions @ found), floor)
            weights /= weights.max()
        shifts.append(found)
    return np.array(shifts)


def _likely(shifts: np.ndarray, kernel: np.ndarray, species: Sequence[str]) -> np.ndarray:
    """Of all solutions `shifts` [K, species] + combinations of `kernel` [k, species], the one most like free atoms.

    Total energies of atoms are about -20.8 eV Z^(7/3) (Thomas-Fermi), and the deviations from a multiple of Z^(7/3),
    whichever multiple fits, are least here in relative terms. For ethanol with all electrons that guesses
    H -16, C -1040, O -2040 eV (right are -13.6, -1030, -2042), where the least norm has H -616. A guess it remains.
    """
    if not len(kernel):
        return shifts
    size = np.array([float(atomic_numbers[symbol]) ** (7.0 / 3.0) for symbol in species])
    matrix = np.column_stack([(kernel / size).T, -np.ones(len(species))])
    found = [np.linalg.lstsq(matrix, -row / size, rcond=1e-10)[0] for row in shifts]
    return shifts + np.array([coefficients[:-1] @ kernel for coefficients in found])


def _null_space(fractions: np.ndarray) -> np.ndarray:
    """Orthonormal rows [k, species] of changes of the shifts that no frame sees."""
    if not fractions.size:
        return np.eye(fractions.shape[1])
    # All frames have the null space of the few rows that QR leaves; their own SVD would have a square matrix of frames.
    _, values, rows = np.linalg.svd(np.linalg.qr(fractions, mode="r"))
    rank = int((values > 1e-8 * values[0]).sum()) if values[0] > 0.0 else 0
    return rows[rank:]


def _fractions(frames: Sequence[Summary | Frame], species: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of each of `species` [frames, species] and number of atoms [frames]."""
    counts, n_atoms = composition_counts(frames, species)
    return counts / n_atoms[:, None], n_atoms


def composition_counts(frames: Sequence[Summary | Frame], species: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of each of `species` [frames, species], and of all species [frames]."""
    counts = np.zeros((len(frames), len(species)))
    columns = {symbol: k for k, symbol in enumerate(species)}
    for row, frame in zip(counts, frames, strict=True):
        for symbol, n in frame.composition.items():
            if symbol in columns:
                row[columns[symbol]] = n
    return counts, np.array([float(frame.n_atoms) for frame in frames])
