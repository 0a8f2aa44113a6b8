"""How good stated stds are: the numbers by which calibrations are compared.

Errors `[n, k]` are signed: energies have one component, forces three, each with the std of the whole over sqrt(k).
"""

import numpy as np
import scipy.stats

from mollifield.calibration import Array

LEVELS = np.linspace(0.01, 0.99, 99)
"""Of the central intervals that the miscalibration area looks at."""


def quality(stds: Array, errors: Array) -> dict[str, float]:
    """`stds [n]` > 0 and `errors [n, k]` in one unit (eV/Å, eV/atom) -> numbers by name.

    `nll`: mean negative log likelihood of a component, of a normal density in that unit. `crps`: continuous ranked
    probability score of the same (Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359 (2007), eq. 21 and below).
    `miscalibration_area`: between the parts of errors that central intervals should hold and do hold (Tran et al.,
    Mach. Learn.: Sci. Technol. 1, 025006 (2020)); 0 is right, 0.5 the worst. `z_mean`, `z_std`, `z_kurtosis`,
    `z_beyond_3`: of standardised residuals; 0, 1, 0 and 0.0027 if normal. `spearman`: rank correlation of the
    lengths of errors and the stds. `sparsification`: area between the root mean square error of what is left as the
    most uncertain are left out, and as those with the largest errors are, over that of all (Ilg et al., ECCV 2018);
    0 is right.
    """
    n_components = errors.shape[1]
    std = (stds / np.sqrt(n_components))[:, None]
    z = errors / std
    density, below = scipy.stats.norm.pdf(z), scipy.stats.norm.cdf(z)
    lengths = np.linalg.norm(errors, axis=1)
    return {
        "nll": float(np.mean(0.5 * z**2 + np.log(std) + 0.5 * np.log(2.0 * np.pi))),
        "crps": float(np.mean(std * (z * (2.0 * below - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi)))),
        "miscalibration_area": float(np.mean(np.abs(held(stds, errors, LEVELS) - LEVELS))),
        "z_mean": float(np.mean(z)),
        "z_std": float(np.std(z)),
        "z_kurtosis": float(scipy.stats.kurtosis(z, axis=None)),
        "z_beyond_3": float(np.mean(np.abs(z) > 3.0)),
        "spearman": float(scipy.stats.spearmanr(stds, lengths).statistic) if np.ptp(stds) > 0.0 else 0.0,
        "sparsification": float(np.mean(_left(lengths, stds) - _left(lengths, lengths)) / np.sqrt(np.mean(lengths**2))),
    }


def held(stds: Array, errors: Array, levels: Array) -> Array:
    """Parts of the components that lie in the central intervals of `levels [n]`, taken for normal: `[n]`."""
    z = np.abs(errors / (stds / np.sqrt(errors.shape[1]))[:, None])
    return np.mean(z.ravel()[:, None] <= scipy.stats.norm.ppf(0.5 + 0.5 * levels), axis=0)


def _left(lengths: Array, by: Array) -> Array:
    """Root mean square errors of the rest, as ever more of those that are largest `by` something are left out."""
    squares = lengths[np.argsort(by, kind="stable")] ** 2
    return np.sqrt(np.cumsum(squares) / np.arange(1, len(squares) + 1))
