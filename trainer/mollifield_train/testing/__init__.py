"""The physics that every architecture must obey, for tests of this project and of others.

potential = MyPotential(example_architecture(MyConfig(r_max=R_MAX)))
export(potential, path, [ethanol()])

@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("engine", [eager_engine(potential), exported_engine(path), calculator_engine(path)])
def test_physics(name, engine):
    CHECKS[name](engine)
"""

from .conformance import CHECKS, single_precision_agrees
from .engines import Answer, Engine, calculator_engine, eager_engine, exported_engine
from .systems import FRAMES, R_MAX, SPECIES, ethanol, example_architecture, sheared_crystal, slab

__all__ = [
    "CHECKS",
    "FRAMES",
    "R_MAX",
    "SPECIES",
    "Answer",
    "Engine",
    "calculator_engine",
    "eager_engine",
    "ethanol",
    "example_architecture",
    "exported_engine",
    "sheared_crystal",
    "single_precision_agrees",
    "slab",
]
