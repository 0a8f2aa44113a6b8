"""Elastic constants of potentials whose constants are known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator

from mollifield.properties import Elastic

from .pairs import lennard_jones
from .silicon import stillinger_weber

pytest.importorskip("matscipy")
pytest.importorskip("spglib")


def turned(atoms: Atoms) -> Atoms:
    other = atoms.copy()
    other.rotate(35.0, (1, 2, 3), rotate_cell=True)
    return other


def numbers(calculator: Calculator, atoms: Atoms, **settings: float) -> dict[str, float]:
    found = Elastic(**settings)(calculator, [atoms]).quantities
    return {name: float(one.value) for name, one in found.items() if np.ndim(one.value) == 0}


@pytest.mark.parametrize("cubic", [True, False], ids=["cube", "primitive"])
def test_silicon_of_stillinger_and_weber(cubic: bool) -> None:
    """Cowley, Phys. Rev. Lett. 60, 2379 (1988): 151.4, 76.4, 56.4 GPa; 109.9 with clamped ions, as LAMMPS finds."""
    found = numbers(stillinger_weber(), bulk("Si", cubic=cubic))
    expected = {"C11": 151.4, "C12": 76.4, "C44": 56.4, "C11 clamped": 151.4, "C12 clamped": 76.4, "C44 clamped": 109.9}
    assert {name for name in found if name.startswith("C")} == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.3), name
    c11, c12, c44 = (found[name] for name in ("C11", "C12", "C44"))
    assert found["K Hill"] == pytest.approx((c11 + 2 * c12) / 3)
    assert found["G Voigt"] == pytest.approx((c11 - c12 + 3 * c44) / 5)
    assert found["G Reuss"] == pytest.approx(5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12)))
    assert found["lowest eigenvalue"] == pytest.approx(min(2 * c44, c11 - c12))


def test_a_turned_crystal_has_the_same_averages_and_its_own_constants() -> None:
    """The part that is not isotropic is symmetric in all four indices: C14 = C56, C25 = C46, C36 = C45, and no more."""
    atoms = bulk("Si")
    straight, other = numbers(stillinger_weber(), atoms), numbers(stillinger_weber(), turned(atoms))
    for name in ("K Hill", "G Voigt", "G Reuss", "lowest eigenvalue"):
        assert other[name] == pytest.approx(straight[name], rel=1e-3)
    assert sum(name.startswith("C") and "clamped" not in name for name in other) == 18


def test_hexagonal_crystal() -> None:
    """Five constants, and C66 that follows from two of them."""
    found = numbers(lennard_jones(), bulk("Ar", "hcp", a=1.12, c=1.12 * (8 / 3) ** 0.5))
    constants = {name for name in found if name.startswith("C") and "clamped" not in name}
    assert constants == {"C11", "C12", "C13", "C33", "C44", "C66"}
    assert found["C66"] == pytest.approx((found["C11"] - found["C12"]) / 2)


def test_pairs_obey_cauchy() -> None:
    """Central forces of twelve neighbours at centres of inversion, without pressure: C12 = C44 = C11 / 2."""
    found = numbers(lennard_jones(), bulk("Ar", "fcc", a=1.6))
    assert found["C12"] == pytest.approx(found["C44"], rel=3e-3)
    assert found["C11"] == pytest.approx(2 * found["C44"], rel=3e-3)
    assert found["C44 clamped"] == pytest.approx(found["C44"], rel=1e-6)
