"""A property of a potential with an error bar: the whole calculation once for the mean and once for each member.

Members of a committee, or samples of a posterior, are potentials of their own. A property is computed for every one of
them, relaxations and fits included, so that errors which members share along a calculation cancel as they should: the
std of an energy difference comes from differences, not from stds of energies.

With A the value for the mean potential, which is what ASE and LAMMPS run, A_m that for member m and f the calibration
factor of the file (below)::

    std^2    = f^2 / (M - 1) sum_m (A_m - mean(A_m))^2
    interval = t std sqrt(1 + 1/M)

The interval is a half length: that of a prediction of one further draw from what the members are draws of, t being the
quantile of Student's distribution with M - 1 degrees of freedom. Samples on one trunk come in pairs about the trained
weights (`mollifield posterior`), so M / 2 of them are independent and their centre is exact: M / 2 degrees of freedom,
and no 1/M.

The calibration factor is the RMS over atoms of calibrated by raw force std in the structures that the calculation
visited. To first order a property is linear in the error of the potential, and a factor on one is a factor on the other
(Imbalzano et al., J. Chem. Phys. 154, 074102 (2021)). Energies and their differences get the factor of energies where
the file has one that is larger. Conformal multiples in the file are of forces' lengths: of nothing else.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from .. import contract
from ..calibration import Array
from .finding import Calculation, Calibrated, Finding, Quantity
from .samples import Samples

LEVEL = contract.INTERVAL_LEVEL
TOLERANCE = 0.25
"""Of an interval's half length by the scale of its quantity: what is above is not to be believed."""
N_NAMED = 3
"""Atoms outside of the training data that are named."""


class Counted(Protocol):
    """How progress is shown."""

    def __call__(self, items: Iterable[Any], what: str, unit: str, total: int | None = None) -> Iterator[Any]:
        """The items."""
        ...


def uncounted(items: Iterable[Any], what: str, unit: str, total: int | None = None) -> Iterator[Any]:
    """Without a bar."""
    yield from items


@dataclass(frozen=True)
class Estimate:
    """A quantity with its error bar; arrays element by element."""

    value: Array
    unit: str
    std: Array | None
    """Calibrated; None without members."""
    interval: Array | None
    """Half length."""
    members: Array
    """`[M, ...]`, as computed, not scaled by the calibration."""
    doubt: str
    """Why it is not to be believed; empty where it may be."""

    def as_dict(self) -> dict[str, Any]:
        """In plain numbers, lists and words."""
        arrays = {"value": self.value, "std": self.std, "interval": self.interval, "members": self.members}
        numbers = {name: None if array is None else array.tolist() for name, array in arrays.items()}
        return {**numbers, "unit": self.unit, "not_to_be_believed": self.doubt}


@dataclass(frozen=True)
class Report:
    """All that was found."""

    estimates: dict[str, Estimate]
    doubts: list[str]
    """Why none of it is to be believed."""
    level: float
    """Of the intervals."""
    n_members: int
    """Those that the error bars come from."""
    calibration_factors: dict[Calibrated, float]
    """Empty: uncalibrated."""
    finding: Finding
    """With the mean potential."""
    member_curves: list[dict[str, Array]]

    def believed(self, name: str) -> bool:
        """Whether a quantity is."""
        return not self.doubts and not self.estimates[name].doubt

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain numbers, lists and words, for a file."""
        return {
            "level": self.level,
            "n_members": self.n_members,
            "calibration_factors": self.calibration_factors,
            "not_to_be_believed": self.doubts,
            "quantities": {name: found.as_dict() for name, found in self.estimates.items()},
            "curves": {name: curve.tolist() for name, curve in self.finding.curves.items()},
            "member_curves": [{name: one.tolist() for name, one in curves.items()} for curves in self.member_curves],
        }


def member_by_member(
    calculation: Calculation,
    samples: Samples,
    structures: Sequence[Atoms],
    level: float = LEVEL,
    tolerance: float = TOLERANCE,
    counted: Counted = uncounted,
) -> Report:
    """Run `calculation` for the mean and for each member, which begin where the mean's ended.

    A member for which it fails is left out, and is a reason to believe nothing. Raises `ValueError` where it fails for
    the mean, or for all members but one.
    """
    potentials = counted([samples.mean, *samples.members], "potentials", "potential")
    finding = calculation(next(potentials), structures)
    found, failures = [], []
    for k, calculator in enumerate(potentials):
        try:
            found.append(calculation(calculator, [atoms.copy() for atoms in finding.start]))
        except ValueError as error:
            failures.append(f"member {k}: {error}")
    return reported(samples, finding, found, failures, level, tolerance)


def reported(
    samples: Samples,
    finding: Finding,
    found: Sequence[Finding],
    failures: Sequence[str] = (),
    level: float = LEVEL,
    tolerance: float = TOLERANCE,
) -> Report:
    """Error bars of what was found with the mean, from what was `found` with members; errors as `member_by_member`."""
    n_members = len(samples.members)
    if n_members and len(found) < 2:
        raise ValueError(f"{len(failures)} of {n_members} members have no such property: {'; '.join(failures[:2])}")
    factors = samples.factors_of(finding.visited)
    multiple = samples.interval_multiple(len(found), level) if found else None
    estimates = {
        name: _estimate(
            quantity,
            [one.quantities[name].value for one in found],
            factors.get(quantity.calibrated_as, 1.0),
            multiple,
            tolerance,
        )
        for name, quantity in finding.quantities.items()
    }
    doubts = [f"{len(failures)} of {n_members} members have no such property ({failures[0]})"] if failures else []
    return Report(
        estimates=estimates,
        doubts=[*doubts, *outside_doubts(samples, finding.visited)],
        level=level,
        n_members=len(found),
        calibration_factors=factors,
        finding=finding,
        member_curves=[one.curves for one in found],
    )


def _estimate(
    quantity: Quantity, values: Sequence[Array], factor: float, multiple: float | None, tolerance: float
) -> Estimate:
    value = np.asarray(quantity.value)
    if multiple is None:
        return Estimate(value, quantity.unit, None, None, np.empty((0, *value.shape)), "")
    members = np.array(values)
    std = np.asarray(factor * np.std(members, axis=0, ddof=1))
    interval = np.asarray(multiple * std)
    found = Estimate(value, quantity.unit, std, interval, members, "")
    return replace(found, doubt=doubt_of(found, quantity.scale, tolerance))


def doubt_of(found: Estimate, stated_scale: float | None, tolerance: float) -> str:
    """Why it is not to be believed, by what it is compared with (`Quantity.scale`)."""
    if found.interval is None:
        return ""
    scale = float(np.max(np.abs(found.value))) if stated_scale is None else stated_scale
    worst = float(np.max(found.interval))
    if not worst <= tolerance * scale:
        return f"the interval is ±{worst:.3g} {found.unit}; allowed are {100 * tolerance:g}% of {scale:.3g}"
    if len(found.members) and np.any(np.abs(found.members.mean(axis=0) - found.value) > found.interval + 1e-6 * scale):
        return "the members' mean lies outside of the interval about the value of the mean potential"
    return ""


def outside_doubts(samples: Samples, visited: Sequence[Atoms]) -> list[str]:
    """A sentence if there are atoms that no training atom resembles."""
    if samples.outside is None:
        return []
    found = [(k, atoms, samples.outside(atoms)) for k, atoms in enumerate(visited)]
    n_structures = sum(bool(np.any(stds > 0.0)) for _, _, stds in found)
    if n_structures == 0:
        return []
    atoms_of = [(float(stds[i]), k, i, atoms.symbols[i]) for k, atoms, stds in found for i in np.flatnonzero(stds)]
    worst = ", ".join(
        f"atom {i} ({symbol}) of structure {k}" for _, k, i, symbol in sorted(atoms_of, reverse=True)[:N_NAMED]
    )
    return [f"{n_structures} of {len(visited)} structures have atoms that no training atom resembles: {worst}"]
