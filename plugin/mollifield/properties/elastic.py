"""Elastic constants of a crystal of any symmetry."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ..calibration import Array
from .error_bars import Report
from .finding import Finding, Quantity, scalar
from .options import SYMMETRY_TOLERANCE, only_crystal, option, require_installed, require_positive
from .pictures import bars
from .property import Property
from .relaxation import relaxed

SAME = 1e-6
"""Elements of a tensor of order 1 that differ by less are equal by symmetry."""


@dataclass(frozen=True)
class Elastic(Property):
    """C_ij = d(stress_i)/d(strain_j) in GPa, by a line through the stresses of a relaxed crystal at `n_steps` strains
    of each of the six kinds (`matscipy.elasticity`), averaged over the point group of the crystal (spglib), so that any
    symmetry, orientation and cell will do.

    `C11` and so on have ions relaxed at each strain; `C11 clamped` have them moved with the cell. Names count Voigt's
    order xx yy zz yz xz xy in the axes of the structure. Elements that symmetry makes equal are named once; all are in
    the matrices `C` and `C clamped`. Averages of the relaxed ones over orientations, after Hill (Proc. Phys. Soc.
    A 65, 349 (1952)): bulk and shear modulus after Voigt, Reuss and Hill; from Hill's, Young's
    modulus and Poisson's ratio.

    `lowest eigenvalue` is that of the tensor (of C with shears counted as sqrt(2) times Voigt's, so that it is the same
    in all axes); the crystal is stable under strain where it is positive (Mouhat and Coudert, Phys. Rev. B 90, 224104
    (2014)).
    """

    text: ClassVar[str] = "elastic constants with clamped and relaxed ions, averages, stability"

    strain: float = option(0.004, "largest strain")
    n_steps: int = option(4, "strains of each kind")
    fmax: float = option(0.0002, "largest force left by a relaxation, eV/Å")

    def __post_init__(self) -> None:
        """Raise `ValueError` for settings out of range."""
        require_positive(self, "strain", "fmax")
        if self.n_steps < 2:
            raise ValueError(f"n_steps = {self.n_steps}; allowed is 2 or more")

    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        """See `Property`. Needs matscipy and spglib."""
        crystal = only_crystal(structures, "an elastic tensor")
        rotations = _point_group(crystal)
        lowest = relaxed(calculator, crystal, self.fmax, "cell")
        names = _names(rotations)
        tensors, strained = {}, []
        for suffix, ions in (("", "relaxed"), (" clamped", "clamped")):
            tensor, ends = self._tensor(lowest, ions)
            tensors[suffix] = _averaged(tensor, rotations) / units.GPa
            strained += ends
        scale = float(np.abs(tensors[""]).max())
        quantities = {
            f"{name}{suffix}": scalar(tensor[place], "GPa", scale)
            for suffix, tensor in tensors.items()
            for name, place in names.items()
        }
        quantities |= {f"C{suffix}": Quantity(tensor, "GPa", scale) for suffix, tensor in tensors.items()}
        return Finding({**quantities, **_averages(tensors[""])}, [lowest, *strained], [lowest])

    def _tensor(self, lowest: Atoms, ions: str) -> tuple[Array, list[Atoms]]:
        """[6, 6] in eV/Å³, and the crystal at the largest strain of each kind."""
        from matscipy.elasticity import fit_elastic_constants, generate_strained_configs

        increment = 2.0 * self.strain / (self.n_steps - 1)
        strained = list(generate_strained_configs(lowest, "triclinic", self.n_steps, increment))
        if ions == "relaxed":
            strained = [relaxed(lowest.calc, atoms, self.fmax) for atoms in strained]
        tensor, _ = fit_elastic_constants(strained, symmetry="triclinic", N_steps=self.n_steps, verbose=False)
        return np.asarray(tensor), strained[:: self.n_steps]

    def draw(self, report: Report, figure: Any) -> None:
        """A bar a constant."""
        names = [name for name, found in report.estimates.items() if found.unit == "GPa" and found.value.ndim == 0]
        found = [report.estimates[name] for name in names]
        intervals = [float(one.interval) for one in found if one.interval is not None]
        axes = figure.subplots()
        bars(axes, names, [float(one.value) for one in found], intervals or None)
        axes.set(ylabel=f"GPa, {100 * report.level:g}% interval")


def _point_group(crystal: Atoms) -> Array:
    """[n, 3, 3] rotations, proper or not, in Cartesian axes: x' = R x."""
    require_installed("spglib", "matscipy")
    import spglib

    cell = crystal.cell.array
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # spglib announces another way to report errors
        found = spglib.get_symmetry((cell, crystal.get_scaled_positions(), crystal.numbers), symprec=SYMMETRY_TOLERANCE)
    if found is None:
        raise ValueError(f"{crystal.get_chemical_formula()}: spglib finds no symmetry, not even the identity")
    rotations = np.unique(found["rotations"], axis=0)
    return np.einsum("ji,njk,kl->nil", cell, rotations, np.linalg.inv(cell.T))


def _averaged(tensor: Array, rotations: Array) -> Array:
    """[6, 6] -> its part that the rotations leave alone."""
    from matscipy.elasticity import Voigt_6x6_to_full_3x3x3x3, full_3x3x3x3_to_Voigt_6x6

    full = Voigt_6x6_to_full_3x3x3x3(0.5 * (tensor + tensor.T))
    turned = np.einsum("nia,njb,nkc,nld,abcd->ijkl", *[rotations] * 4, full, optimize=True) / len(rotations)
    return np.asarray(full_3x3x3x3_to_Voigt_6x6(turned, check_symmetry=False))


def _names(rotations: Array) -> dict[str, tuple[int, int]]:
    """Elements that are neither zero nor equal, but for the sign, to an earlier one, by the symmetry of the crystal."""
    example = np.random.default_rng(0).uniform(1.0, 2.0, (6, 6))
    example = np.abs(_averaged(example, rotations))
    found: dict[str, tuple[int, int]] = {}
    places = sorted(((i, j) for i in range(6) for j in range(i, 6)), key=lambda place: (place[0] != place[1], place))
    for place in places:
        value = example[place]
        if value > SAME and all(abs(value - example[other]) > SAME for other in found.values()):
            found[f"C{place[0] + 1}{place[1] + 1}"] = place
    return dict(sorted(found.items()))


def _averages(tensor: Array) -> dict[str, Quantity]:
    """Of [6, 6] in GPa; Hill's equations."""
    compliance = np.linalg.inv(tensor)
    (axes, between, shear), (s_axes, s_between, s_shear) = map(_sums, (tensor, compliance))
    bulk = {"Voigt": (axes + 2.0 * between) / 9.0, "Reuss": 1.0 / (s_axes + 2.0 * s_between)}
    rigidity = {
        "Voigt": (axes - between + 3.0 * shear) / 15.0,
        "Reuss": 15.0 / (4.0 * (s_axes - s_between) + 3.0 * s_shear),
    }
    found: dict[str, Quantity] = {}
    for symbol, moduli in (("K", bulk), ("G", rigidity)):
        moduli["Hill"] = 0.5 * (moduli["Voigt"] + moduli["Reuss"])
        found |= {f"{symbol} {name}": scalar(value, "GPa") for name, value in moduli.items()}
    k, g = bulk["Hill"], rigidity["Hill"]
    kelvin = np.array([1.0] * 3 + [2.0**0.5] * 3)
    return {
        **found,
        "Young's modulus": scalar(9.0 * k * g / (3.0 * k + g), "GPa"),
        "Poisson's ratio": scalar((3.0 * k - 2.0 * g) / (2.0 * (3.0 * k + g)), "", 0.5),
        "lowest eigenvalue": scalar(float(np.linalg.eigvalsh(tensor * np.outer(kelvin, kelvin))[0]), "GPa"),
    }


def _sums(tensor: NDArray[Any]) -> tuple[float, float, float]:
    """Of [6, 6]: its elements along axes, between axes, and of shears."""
    return (
        float(np.trace(tensor[:3, :3])),
        float(tensor[0, 1] + tensor[0, 2] + tensor[1, 2]),
        float(np.trace(tensor[3:, 3:])),
    )
