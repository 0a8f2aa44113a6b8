"""Physical properties of a model's potential, every number with an error bar.

    from mollifield import MollifieldCalculator
    from mollifield.properties import EquationOfState, samples_of

    report = EquationOfState().measure(samples_of(MollifieldCalculator("model.pt")), [bulk("Si")])
    report.estimates["B"].value, report.estimates["B"].interval  # GPa

A property is a frozen dataclass, whose fields are its settings; calling it with any ASE calculator and structures gives
the numbers of one potential (`finding.Finding`).
"""

from .barrier import Barrier
from .defects import Defects
from .dynamics import Dynamics
from .elastic import Elastic
from .equation_of_state import EquationOfState
from .error_bars import Estimate, Report
from .path_integral import PathIntegral
from .phonons import Phonons
from .property import Property
from .samples import Samples, samples_of

PROPERTIES: dict[str, type[Property]] = {
    "eos": EquationOfState,
    "elastic": Elastic,
    "phonons": Phonons,
    "defect": Defects,
    "neb": Barrier,
    "md": Dynamics,
    "pimd": PathIntegral,
}
"""By the name that `mollifield property` knows."""

__all__ = [
    "PROPERTIES",
    "Barrier",
    "Defects",
    "Dynamics",
    "Elastic",
    "EquationOfState",
    "Estimate",
    "PathIntegral",
    "Phonons",
    "Property",
    "Report",
    "Samples",
    "samples_of",
]
