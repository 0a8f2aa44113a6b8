"""Structure and diffusion by molecular dynamics: one trajectory, reweighted to every member."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from ..calibration import Array
from ..neighbours import find_edges
from .error_bars import LEVEL, TOLERANCE, Counted, Report, uncounted
from .finding import Finding, Quantity, energy, scalar
from .options import only_crystal, option, require_positive
from .pictures import band
from .property import Property
from .reweighting import Average, averaged, report_of, standard_error
from .samples import Samples

SITE = 1.0
"""Å: the root mean square displacement below which atoms are taken to be where they were."""
N_VISITED = 20
"""Frames that are looked up among the training data."""


@dataclass(frozen=True)
class Trajectory:
    """What is kept of the frames after equilibration."""

    frames: list[Atoms]
    deviations: Array
    """[n, M], eV: energies of members less that of the mean potential."""


@dataclass(frozen=True)
class Dynamics(Property):
    """Constant temperature and volume, by the thermostat of Bussi, Donadio and Parrinello (J. Chem. Phys. 126, 014101
    (2007)), with the mean potential.

    Found are the potential energy (eV/atom; its scale is 3/2 kT), the radial distribution `rdf` (an array, and its
    `peak height`), and the coefficient of self-diffusion (Å²/ps) after Einstein, from displacements over a quarter to
    half of a block. Every number has a statistical error from `n_blocks` blocks. Averages of positions are reweighted
    to each member (`reweighting.averaged`); std and interval then hold both, in quadrature. Diffusion is no average of
    positions: its error is that of the statistics alone, and what the members would say of it is unknown. It is not to
    be believed where atoms did not move by 1 Å in that time.
    """

    text: ClassVar[str] = "radial distribution and diffusion by molecular dynamics"

    temperature: float = option(300.0, "K")
    timestep: float = option(1.0, "fs")
    n_steps: int = option(10000, "steps after equilibration")
    n_equilibration: int = option(1000, "steps before")
    every: int = option(20, "steps between two frames that count")
    damping: float = option(100.0, "time of the thermostat, fs")
    r_max: float = option(6.0, "of the radial distribution, Å")
    n_bins: int = option(120, "of the radial distribution")
    n_blocks: int = option(8, "for statistical errors")
    seed: int = option(0, "of velocities and the thermostat")

    def __post_init__(self) -> None:
        """Raise `ValueError` for settings out of range."""
        require_positive(self, "temperature", "timestep", "n_steps", "every", "damping", "r_max", "n_bins")
        if self.n_blocks < 2 or self.n_steps // self.every < 8 * self.n_blocks:
            raise ValueError(
                f"n_blocks = {self.n_blocks}, n_steps = {self.n_steps}, every = {self.every}; allowed are 2 blocks or "
                "more, of 8 frames at least"
            )

    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        """See `Property`: a trajectory of this potential, with no error bar."""
        trajectory = self.run(Samples(calculator, []), structures, uncounted)
        return self._found(trajectory)[0]

    def measure(
        self,
        samples: Samples,
        structures: Sequence[Atoms],
        level: float = LEVEL,
        tolerance: float = TOLERANCE,
        counted: Counted = uncounted,
    ) -> Report:
        """One trajectory, reweighted."""
        trajectory = self.run(samples, structures, counted)
        finding, averages = self._found(trajectory)
        report = report_of(
            samples, finding, averages, trajectory.deviations, self.temperature, self.n_blocks, level, tolerance
        )
        moved = float(finding.curves["displacement"])
        if moved < SITE:
            doubt = f"atoms move by {moved:.2g} Å within half a block: none has been seen to leave its site"
            report.estimates["diffusion"] = replace(report.estimates["diffusion"], doubt=doubt)
        return report

    def run(self, samples: Samples, structures: Sequence[Atoms], counted: Counted) -> Trajectory:
        """The trajectory of the mean potential, and the members' energies along it."""
        atoms = only_crystal(structures, "a radial distribution").copy()
        rng = np.random.default_rng(self.seed)
        thermalize_momenta(atoms, self.temperature, rng=rng)
        Stationary(atoms)
        atoms.calc = samples.mean
        dynamics = Bussi(
            atoms, self.timestep * units.fs, temperature_K=self.temperature, taut=self.damping * units.fs, rng=rng
        )
        dynamics.run(self.n_equilibration)
        frames, deviations = [], []
        for _ in counted(range(self.n_steps // self.every), "dynamics", "frame"):
            dynamics.run(self.every)
            frame = atoms.copy()
            frame.info["energy"] = atoms.get_potential_energy()
            if not np.isfinite(frame.info["energy"]):
                raise ValueError(f"the energy is not finite after {dynamics.nsteps} steps: take a shorter timestep")
            frames.append(frame)
            deviations.append(samples.member_energies(frame) - frame.info["energy"])
        return Trajectory(frames, np.array(deviations))

    def _found(self, trajectory: Trajectory) -> tuple[Finding, dict[str, Average]]:
        """Quantities with their scales, and averages with their errors."""
        frames, deviations = trajectory.frames, trajectory.deviations
        n_atoms = len(frames[0])
        energies = np.array([frame.info["energy"] for frame in frames]) / n_atoms
        distances = np.array([self._distribution(frame) for frame in frames])
        places = (np.arange(self.n_bins) + 0.5) * self.r_max / self.n_bins
        averages = {
            "energy": averaged(
                energies, energies[:, None] + deviations / n_atoms, deviations, self.temperature, self.n_blocks
            ),
            "rdf": averaged(distances, None, deviations, self.temperature, self.n_blocks),
        }
        rdf = averages["rdf"]
        top = int(rdf.value.argmax())
        averages["peak height"] = Average(rdf.value[top], rdf.statistical[top], rdf.members[:, top])
        averages["diffusion"], displacement = self._diffusion(frames)
        per_kt = 1.5 * units.kB * self.temperature
        return Finding(
            quantities={
                "energy": energy(float(averages["energy"].value), "eV/atom", per_kt),
                "rdf": Quantity(rdf.value, "", float(rdf.value[top])),
                "peak height": scalar(float(rdf.value[top]), ""),
                "diffusion": scalar(float(averages["diffusion"].value), "Å²/ps"),
            },
            visited=frames[:: max(1, len(frames) // N_VISITED)],
            start=[frames[-1]],
            curves={"distances": places, "displacement": np.array(displacement)},
        ), averages

    def _distribution(self, frame: Atoms) -> Array:
        """[n_bins]: neighbours at a distance, over those of a gas of this density."""
        edges = find_edges(frame.positions, frame.cell.array, frame.pbc, self.r_max)
        counts, ends = np.histogram(
            np.linalg.norm(edges.edge_vectors, axis=1), bins=self.n_bins, range=(0.0, self.r_max)
        )
        shells = 4.0 / 3.0 * np.pi * np.diff(ends**3)
        return np.asarray(counts / (len(frame) * shells * len(frame) / frame.get_volume()))

    def _diffusion(self, frames: Sequence[Atoms]) -> tuple[Average, float]:
        """D = slope / 6 of the mean squared displacement, block by block; and the root of the largest of these (Å)."""
        positions = np.array([frame.positions - frame.get_center_of_mass() for frame in frames])
        found, largest = [], []
        for block in np.array_split(positions, self.n_blocks):
            lags = np.arange(len(block) // 4, len(block) // 2 + 1)
            squares = [np.mean(np.sum((block[lag:] - block[:-lag]) ** 2, axis=2)) for lag in lags]
            times = lags * self.every * self.timestep * 1e-3
            largest.append(squares[-1])
            found.append(np.polyfit(times, squares, 1)[0] / 6.0)
        values = np.array(found)
        return Average(values.mean(), standard_error(values, self.n_blocks), np.empty(0)), float(
            np.mean(largest)
        ) ** 0.5

    def draw(self, report: Report, figure: Any) -> None:
        """The radial distribution, and that of each member."""
        axes = figure.subplots()
        found, places = report.estimates["rdf"], report.finding.curves["distances"]
        band(axes, places, found.value, list(found.members))
        if found.interval is not None:
            low, high = found.value - found.interval, found.value + found.interval
            axes.fill_between(places, low, high, color="black", alpha=0.15, linewidth=0.0)
        axes.set(xlabel="distance (Å)", ylabel="radial distribution")
