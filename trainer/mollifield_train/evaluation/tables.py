"""Errors of a model by quantity, species and group, and the frames where it is most wrong, in plain values.

Numbers are in meV/atom, meV/Å and meV/Å^3, of the committee's mean where nothing else is said.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..metrics import MILLI, UNITS, FrameErrors, mae, offset, rmse, rmse_without_offset, stated
from .calibration import calibration

Measures = dict[str, float]


def tables(frames: Sequence[FrameErrors], by: str | None = None, n_largest: int = 10) -> dict[str, Any]:
    """All that there is to say, ready for JSON; `by`: 'file', 'composition' or a key of the frames' tags."""
    found: dict[str, Any] = {
        "units": UNITS,
        "n_frames": len(frames),
        "n_members": len(frames[0].energies),
        "errors": errors(frames),
        "forces_by_species": forces_by_species(frames),
        "largest": {quantity: largest(frames, quantity, n_largest) for quantity in UNITS},
        "calibration": calibration(frames),
        "outside": outside(frames),
    }
    if by is not None:
        found["by"] = by
        found["groups"] = {
            name: {"n_frames": len(some), "errors": errors(some)} for name, some in groups_of(frames, by).items()
        }
    return found


def outside(frames: Sequence[FrameErrors]) -> dict[str, int]:
    """How many atoms, frames with such atoms and energies the model says are outside of its training data."""
    atoms = [0 if frame.outside is None else int(frame.outside.sum()) for frame in frames]
    return {
        "n_atoms": sum(atoms),
        "n_frames": sum(n > 0 for n in atoms),
        "n_energies": sum(frame.energy_outside for frame in frames),
    }


def groups_of(frames: Sequence[FrameErrors], by: str) -> dict[str, list[FrameErrors]]:
    """Frames of each group, by name. Raises ValueError where no frame has such a tag."""
    found: dict[str, list[FrameErrors]] = defaultdict(list)
    for frame in frames:
        found[frame.frame.group(by)].append(frame)
    if set(found) == {"-"}:
        present = sorted({key for frame in frames for key in frame.frame.tags})
        raise ValueError(
            f"--by {by}: no frame has such a key; present are {', '.join(['file', 'composition', *present])}"
        )
    return dict(sorted(found.items()))


def errors(frames: Sequence[FrameErrors]) -> dict[str, Measures]:
    """Measures of each quantity that has labels.

    `offset` and `rmse_without_offset` (energy): the mean error, which no difference of energies sees, and what is left.
    `rmse_members`: of single members; `std`: the root mean square of what the model states (two members or more).
    """
    return {quantity: found for quantity in UNITS if (found := _errors(frames, quantity))}


def _errors(frames: Sequence[FrameErrors], quantity: str) -> Measures:
    pieces = [values for frame in frames if (values := frame.deviations(quantity)) is not None]
    if not pieces:
        return {}
    deviations = np.concatenate(pieces, axis=1)
    mean = deviations.mean(axis=0)
    found = {"rmse": rmse(mean), "mae": mae(mean), "largest": float(np.abs(mean).max())}
    if quantity == "energy":
        found |= {"offset": offset(mean), "rmse_without_offset": rmse_without_offset(mean)}
    variances = [values for frame in frames if (values := frame.stated_variances(quantity)) is not None]
    if len(deviations) > 1:
        found["rmse_members"] = rmse(deviations)
    if variances:
        found["std"] = stated(np.concatenate(variances))
    return {"n": len(mean)} | {name: MILLI * value for name, value in found.items()}


def forces_by_species(frames: Sequence[FrameErrors]) -> dict[str, Measures]:
    """Measures of the forces on the atoms of each element."""
    pieces: dict[str, list[np.ndarray]] = defaultdict(list)
    variances: dict[str, list[np.ndarray]] = defaultdict(list)
    for frame in frames:
        found = frame.deviations("forces")
        if found is None:
            continue
        atoms = frame.frame.labelled_atoms
        symbols, mean = np.array(frame.frame.symbols)[atoms], found.mean(axis=0).reshape(-1, 3)
        for symbol in sorted(set(symbols)):
            rows = symbols == symbol
            pieces[symbol].append(mean[rows].ravel())
            if frame.forces_variance is not None:
                variances[symbol].append(frame.forces_variance[atoms[rows]].ravel())
    table = {}
    for symbol, some in sorted(pieces.items()):
        deviations = np.concatenate(some)
        table[symbol] = {"n_atoms": len(deviations) // 3, "rmse": MILLI * rmse(deviations)}
        table[symbol] |= {"mae": MILLI * mae(deviations), "largest": MILLI * float(np.abs(deviations).max())}
        if variances[symbol]:
            table[symbol]["std"] = MILLI * stated(np.concatenate(variances[symbol]))
    return table


def largest(frames: Sequence[FrameErrors], quantity: str, n: int) -> list[dict[str, Any]]:
    """The `n` frames that are most wrong, each with its file and number.

    Of energies with their sign and the offset of the set apart; of forces the length of the worst atom's error; of
    stresses the Frobenius norm.
    """
    rows = []
    for frame in frames:
        found = frame.deviations(quantity)
        if found is None:
            continue
        mean = found.mean(axis=0)
        row: dict[str, Any] = {"file": frame.frame.file, "frame": frame.frame.number}
        if quantity == "forces":
            lengths = np.linalg.norm(mean.reshape(-1, 3), axis=1)
            atom = int(frame.frame.labelled_atoms[lengths.argmax()])
            assert frame.frame.forces is not None
            row |= {"error": MILLI * float(lengths.max()), "atom": atom, "symbol": frame.frame.symbols[atom]}
            row["force"] = MILLI * float(np.linalg.norm(frame.frame.forces[atom]))
            if frame.forces_variance is not None:
                row["std"] = MILLI * float(np.sqrt(frame.forces_variance[atom].sum()))
        else:
            row["error"] = MILLI * float(mean[0] if quantity == "energy" else np.linalg.norm(mean))
            if quantity == "energy" and frame.energy_std is not None:
                row["std"] = MILLI * frame.energy_std / frame.n_atoms
        rows.append(row)
    if quantity == "energy" and rows:
        middle = float(np.mean([row["error"] for row in rows]))
        rows = [row | {"error": row["error"] - middle} for row in rows]
    return sorted(rows, key=lambda row: -abs(row["error"]))[:n]
