"""What the members of a committee would have found in the trajectory of their mean."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from ase import units
from scipy import stats

from ..calibration import Array
from .error_bars import Estimate, Report, doubt_of, outside_doubts
from .finding import Finding
from .samples import Samples

LINEAR = 1.0
"""Std of a member's energy difference by kT, above which the expansion below is none of a small quantity."""


@dataclass(frozen=True)
class Average:
    """Of an observable over a trajectory."""

    value: Array
    """`[...]`, of the mean potential."""
    statistical: Array
    """`[...]`: standard error of the value, from blocks."""
    members: Array
    """`[M, ...]`."""


def averaged(
    observable: Array, members_observable: Array | None, deviations: Array, temperature: float, n_blocks: int
) -> Average:
    """Of `observable [n, ...]` in n frames that the mean potential drew at `temperature` (K), and of each member's.

    `deviations [n, M]` (eV): a member's energy less that of the mean potential. To first order in them (the cumulant
    expansion of Ceriotti et al., Proc. R. Soc. A 468, 2 (2012), in the form of Imbalzano et al., J. Chem. Phys. 154,
    074102 (2021))::

        <A>_m = <A_m> - (<A_m V_m> - <A_m> <V_m>) / kT,   V_m the deviation

    which needs far fewer frames than weights exp(-V_m / kT) do: those vary as an exponential of the number of atoms.
    `members_observable [n, M, ...]`: where the observable itself is another one for each member. The statistical error
    is the sample std of the means of `n_blocks` blocks, divided by the square root of their number.
    """
    beta = 1.0 / (units.kB * temperature)
    centred = deviations - deviations.mean(axis=0)
    n_members = deviations.shape[1]
    members = []
    for m in range(n_members):
        own = observable if members_observable is None else members_observable[:, m]
        members.append(own.mean(axis=0) - beta * np.tensordot(centred[:, m], own, axes=(0, 0)) / len(own))
    return Average(
        value=np.asarray(observable.mean(axis=0)),
        statistical=standard_error(observable, n_blocks),
        members=np.array(members).reshape(n_members, *observable.shape[1:]),
    )


def standard_error(observable: Array, n_blocks: int) -> Array:
    """Of the mean of `observable [n, ...]`, by means of blocks, which are taken for independent."""
    means = np.array([block.mean(axis=0) for block in np.array_split(observable, n_blocks)])
    return np.asarray(means.std(axis=0, ddof=1) / n_blocks**0.5)


def report_of(
    samples: Samples,
    finding: Finding,
    averages: Mapping[str, Average],
    deviations: Array,
    temperature: float,
    n_blocks: int,
    level: float,
    tolerance: float,
) -> Report:
    """Stds and intervals that hold, in quadrature, the spread of the members and the statistical error.

    `finding`: the quantities of the mean potential. `deviations [n, M]` (eV) and `n_blocks` as `averaged` had them.
    """
    factors = samples.factors_of(finding.visited)
    n_members = len(samples.members)
    multiple = samples.interval_multiple(n_members, level) if n_members > 1 else 0.0
    statistical_multiple = float(stats.t.ppf(0.5 + level / 2.0, n_blocks - 1))
    estimates = {}
    for name, average in averages.items():
        quantity = finding.quantities[name]
        factor = factors.get(quantity.calibrated_as, 1.0)
        spread = factor * np.std(average.members, axis=0, ddof=1) if len(average.members) else 0.0
        found = Estimate(
            value=average.value,
            unit=quantity.unit,
            std=np.asarray(np.hypot(spread, average.statistical)),
            interval=np.asarray(np.hypot(multiple * spread, statistical_multiple * average.statistical)),
            members=average.members,
            doubt="",
        )
        estimates[name] = replace(found, doubt=doubt_of(found, quantity.scale, tolerance))
    doubts = outside_doubts(samples, finding.visited)
    size = factors.get("forces", 1.0) * deviations.std(axis=0) / (units.kB * temperature)
    if n_members and size.max() > LINEAR:
        doubts.append(
            f"a member's energy less that of the mean potential varies by {size.max():.2g} kT from frame to frame; "
            f"reweighting is linear up to {LINEAR:g}: take fewer atoms, or a better potential"
        )
    return Report(estimates, doubts, level, n_members, factors, finding, [])
