"""The path of lowest energy between two structures, and its barrier."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.mep import NEB
from ase.optimize import FIRE

from .error_bars import Report
from .finding import Finding, Quantity, energy
from .options import option, require_positive
from .pictures import band
from .property import Property
from .relaxation import relaxed


@dataclass(frozen=True)
class Barrier(Property):
    """The nudged elastic band with a climbing image (Henkelman, Uberuaga and Jónsson, J. Chem. Phys. 113, 9901 (2000);
    ASE) between two structures, or more on the way, whose first and last are relaxed, in a fixed cell.

    Two structures are joined by the image-dependent pair potential (Smidstrup et al., J. Chem. Phys. 140, 214106
    (2014)). Found are the energies (eV) of the highest image above the first (`forward`) and above the last
    (`reverse`), of the last above the first (`reaction`), and as an array those of all images (`path`). Members start
    from the path of the mean potential.
    """

    text: ClassVar[str] = "barrier and path between two structures"

    n_images: int = option(7, "images between the ends")
    fmax: float = option(0.03, "largest force left on an image, eV/Å")
    n_steps: int = option(500, "at most, of the band")
    spring: float = option(0.1, "between images, eV/Å²")

    def __post_init__(self) -> None:
        """Raise `ValueError` for settings out of range."""
        require_positive(self, "n_images", "fmax", "n_steps", "spring")

    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        """See `Property`. Raises `ValueError` for structures that are not of the same atoms, too."""
        images = self._images(calculator, structures)
        for atoms in images:
            atoms.calc = calculator
        neb = NEB(images, k=self.spring, climb=True, allow_shared_calculator=True, method="improvedtangent")
        with FIRE(neb, logfile=None) as optimiser:
            if not optimiser.run(fmax=self.fmax, steps=self.n_steps):
                force = float(np.linalg.norm(neb.get_forces().reshape(-1, 3), axis=1).max())
                raise ValueError(f"the band is not relaxed in {self.n_steps} steps: a force is {force:.3g} eV/Å")
        energies = np.array([atoms.get_potential_energy() for atoms in images])
        highest = float(energies.max())
        steps = [np.linalg.norm(b.positions - a.positions) for a, b in pairwise(images)]
        size = float(np.ptp(energies))
        return Finding(
            quantities={
                "forward": energy(highest - float(energies[0]), "eV", size),
                "reverse": energy(highest - float(energies[-1]), "eV", size),
                "reaction": energy(float(energies[-1] - energies[0]), "eV", size),
                "path": Quantity(energies - energies[0], "eV", size, "energy"),
            },
            visited=images,
            start=images,
            curves={"length": np.concatenate([[0.0], np.cumsum(steps)])},
        )

    def _images(self, calculator: Calculator, structures: Sequence[Atoms]) -> list[Atoms]:
        """The ends relaxed, and images between them."""
        if len(structures) < 2:
            raise ValueError(f"{len(structures)} structures; a path needs its two ends")
        first, last = structures[0], structures[-1]
        for atoms in structures[1:]:
            if len(atoms) != len(first) or (atoms.numbers != first.numbers).any():
                raise ValueError(
                    f"{atoms.get_chemical_formula('reduce')} and {first.get_chemical_formula('reduce')}: a path needs "
                    "the same atoms in the same order"
                )
        # Ends that the mean relaxed are relaxed again: a member's minima are its own.
        ends = [relaxed(calculator, atoms, self.fmax / 3.0) for atoms in (first, last)]
        if len(structures) > 2:
            return [ends[0], *(atoms.copy() for atoms in structures[1:-1]), ends[1]]
        images = [ends[0], *(ends[0].copy() for _ in range(self.n_images)), ends[1]]
        NEB(images, method="improvedtangent").interpolate(method="idpp", mic=bool(first.pbc.any()))
        return images

    def draw(self, report: Report, figure: Any) -> None:
        """Energies along the path of each potential."""
        axes = figure.subplots()
        found, length = report.estimates["path"], report.finding.curves["length"]
        band(axes, length, found.value, list(found.members))
        if found.interval is not None:
            axes.errorbar(length, found.value, found.interval, fmt="o", markersize=3, color="black", capsize=2)
        axes.set(xlabel="length of the path (Å)", ylabel="energy (eV)")
