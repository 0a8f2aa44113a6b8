"""Phonons of a crystal in the harmonic approximation."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ..calibration import Array
from .error_bars import Report
from .finding import Finding, Quantity, scalar
from .options import SYMMETRY_TOLERANCE, only_crystal, option, repeats, require_installed, require_positive
from .pictures import band
from .property import Property
from .relaxation import relaxed

KILOJOULE_PER_MOLE = 1.0 / 96.48533212
"""eV."""


@dataclass(frozen=True)
class Phonons(Property):
    """By forces on atoms that are displaced in a supercell of the relaxed crystal (phonopy; Togo et al., J. Phys.
    Condens. Matter 35, 353001 (2023)), without the splitting of longitudinal modes by charges.

    Found are the highest and the lowest frequency on a mesh (THz; a mode that falls off its saddle is negative, and its
    scale is the highest), the heat capacity at constant volume an atom (J/(K mol)) at each of `temperatures`, the
    zero-point energy (meV/atom), and as an array `bands` (THz, `[n_points, n_branches]`) along ASE's path.
    """

    text: ClassVar[str] = "phonon bands, density of states, heat capacity"

    size: float = option(9.0, "least length of the supercell's vectors, Å")
    displacement: float = option(0.01, "of an atom, Å")
    temperatures: tuple[float, ...] = option((100.0, 300.0, 1000.0), "of heat capacities, K")
    n_points: int = option(100, "points on the path of the bands")
    mesh: float = option(60.0, "density of the mesh: phonopy's length, Å")
    fmax: float = option(0.0002, "largest force left by a relaxation, eV/Å")

    def __post_init__(self) -> None:
        """Raise `ValueError` for settings out of range."""
        require_positive(self, "size", "displacement", "n_points", "mesh", "fmax")
        if not self.temperatures or min(self.temperatures) <= 0.0:
            raise ValueError(f"temperatures = {self.temperatures}; allowed are numbers above 0")

    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        """See `Property`. Needs phonopy."""
        require_installed("phonopy")
        crystal = only_crystal(structures, "a phonon spectrum")
        lowest = relaxed(calculator, crystal, self.fmax, "cell")
        phonon, displaced = self._force_constants(lowest)
        phonon.run_mesh(self.mesh)
        phonon.run_total_dos()
        phonon.run_thermal_properties(temperatures=[0.0, *self.temperatures], exclude_gamma_acoustic=True)
        n_atoms = len(phonon.primitive)
        frequencies = phonon.mesh.frequencies
        highest = float(frequencies.max())
        thermal = phonon.thermal_properties
        q_points, places = _path(phonon.primitive.cell, self.n_points)
        phonon.run_qpoints(q_points)
        bands = np.asarray(phonon.qpoints.frequencies)
        return Finding(
            quantities={
                "highest frequency": scalar(highest, "THz"),
                "lowest frequency": scalar(float(frequencies.min()), "THz", highest),
                **{
                    f"Cv {temperature:g} K": scalar(float(heat) / n_atoms, "J/(K mol)")
                    for temperature, heat in zip(self.temperatures, thermal.heat_capacity[1:], strict=True)
                },
                "zero-point energy": scalar(
                    1e3 * KILOJOULE_PER_MOLE * float(thermal.free_energy[0]) / n_atoms, "meV/atom"
                ),
                "bands": Quantity(bands, "THz", highest),
            },
            visited=[lowest, *displaced],
            start=[lowest],
            curves={
                "path": places,
                "dos_frequencies": np.asarray(phonon.total_dos.frequency_points),
                "dos": np.asarray(phonon.total_dos.dos) / n_atoms,
            },
        )

    def _force_constants(self, lowest: Atoms) -> tuple[Any, list[Atoms]]:
        """phonopy's object, and the displaced supercells."""
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms

        cell = PhonopyAtoms(
            symbols=lowest.get_chemical_symbols(),
            cell=lowest.cell.array,
            scaled_positions=lowest.get_scaled_positions(),
            masses=lowest.get_masses(),
        )
        matrix = np.diag(repeats(lowest, self.size))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "primitive_matrix defaulted")  # by phonopy 4, even where "auto" is said
            phonon = Phonopy(cell, matrix, primitive_matrix="auto", symprec=SYMMETRY_TOLERANCE)
        phonon.generate_displacements(distance=self.displacement)
        displaced = []
        for one in phonon.supercells_with_displacements or []:
            atoms = Atoms(one.symbols, cell=one.cell, scaled_positions=one.scaled_positions, pbc=True)
            atoms.calc = lowest.calc
            displaced.append(atoms)
        phonon.forces = [atoms.get_forces() for atoms in displaced]
        phonon.produce_force_constants(show_drift=False)
        phonon.symmetrize_force_constants(show_drift=False)
        return phonon, displaced

    def draw(self, report: Report, figure: Any) -> None:
        """Bands, and beside them the density of states."""
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
        found, curves = report.estimates["bands"], report.finding.curves
        for branch in range(found.value.shape[1]):
            label = "mean potential" if branch == 0 else None
            band(left, curves["path"], found.value[:, branch], list(found.members[:, :, branch]), label)
        left.axhline(0.0, color="black", linewidth=0.7)
        left.set(xlabel="path through the Brillouin zone", ylabel="frequency (THz)", xticks=[])
        for one, width in [*((one, 0.6) for one in report.member_curves), (curves, 1.4)]:
            right.plot(one["dos"], one["dos_frequencies"], linewidth=width, color="black")
        right.set(xlabel="states (1/THz/atom)")
        right.spines[["top", "right"]].set_visible(False)


def _path(cell: Array, n_points: int) -> tuple[Array, Array]:
    """[n, 3] in units of the reciprocal vectors of a primitive cell, and [n] places along the path."""
    path = Atoms(cell=cell, pbc=True).cell.bandpath(npoints=n_points, eps=SYMMETRY_TOLERANCE)
    return np.asarray(path.kpts), np.asarray(path.get_linear_kpoint_axis()[0])
