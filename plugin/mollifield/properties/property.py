"""What every property is: settings, the calculation with one potential, a picture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator

from .error_bars import LEVEL, TOLERANCE, Counted, Report, member_by_member, uncounted
from .finding import Finding
from .samples import Samples


@dataclass(frozen=True)
class Property(ABC):
    """Fields of subclasses are settings, made by `options.option`."""

    text: ClassVar[str]
    """Its line in the list of properties."""

    @abstractmethod
    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        """With one potential. Raises `ValueError` where it has no such property: no minimum, not relaxed."""

    @abstractmethod
    def draw(self, report: Report, figure: Any) -> None:
        """Into a figure of matplotlib's."""

    def measure(
        self,
        samples: Samples,
        structures: Sequence[Atoms],
        level: float = LEVEL,
        tolerance: float = TOLERANCE,
        counted: Counted = uncounted,
    ) -> Report:
        """With error bars: see `error_bars.member_by_member`."""
        return member_by_member(self, samples, structures, level, tolerance, counted)
