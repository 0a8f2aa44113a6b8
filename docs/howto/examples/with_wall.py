"""An oracle: effective medium theory and a wall."""

from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from pydantic import PositiveFloat

from mollifield_train.oracle.calculators import OracleConfig
from mollifield_train.section import Kind


class WithWallConfig(OracleConfig):
    height: PositiveFloat = 0.01  # eV


def make(settings):
    return SumCalculator([EMT(), LennardJones(sigma=2.0, epsilon=settings.height, rc=5.0)])


WITH_WALL = Kind(WithWallConfig, make)
