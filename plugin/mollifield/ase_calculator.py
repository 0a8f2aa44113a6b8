"""ASE's view of an exported model."""

import copy
import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from . import contract, uncertainty
from .ase_properties import INTERVAL_PROPERTIES, NOISE_PROPERTIES, OUTSIDE_PROPERTIES, STD_PROPERTIES, register
from .calibration import Array
from .potential import Evaluation, evaluate
from .verification import load_artefact

register()


class MollifieldCalculator(Calculator):
    """Energy, forces, stress and their committee spread, for any periodicity and cell size.

    ======================  ===============  ====================================================================
    `energy`                eV               mean over members (`free_energy` is the same number)
    `energies`              eV, [N]          mean over members, summing to `energy`
    `forces`                eV/Å, [N, 3]     mean over members
    `stress`                eV/Å³, [6]       mean; Voigt xx yy zz yz xz xy; see below for fewer than three periodic
                                             directions
    `stresses`              eV/Å³, [N, 6]    mean, atom by atom, summing to `stress`; only when asked for
    `energy_std`            eV               sample standard deviation over members, calibrated, and more where
                                             atoms are outside of the training data (`uncertainty.spread`)
    `forces_std`            eV/Å, [N]        sqrt of the trace of `forces_cov`
    `forces_cov`            eV²/Å², [N,3,3]  sample covariance over members, likewise; turns with the frame
    `epistemic_std`         eV/Å, [N]        `forces_std` by another name
    `aleatoric_std`         eV/Å, [N]        std of a force label's noise (`uncertainty.aleatoric`), as the file's noise
                                             head tells it, or its number for the species; no part of `forces_std`
    `aleatoric_cov`         eV²/Å², [N,3,3]  its covariance; turns with the frame
    `energy_aleatoric_std`  eV               the same of the total energy
    `outside`               bool, [N]        whether no training atom resembles this one (`contract.LATENT_CENTRE`);
                                             stds are warnings there, no measured errors. A single member knows it too
    `energy_outside`        bool             whether any atom is outside, or the training frames do not determine the
                                             energy of this composition
    `energy_interval`       eV               half length of the interval in which the reference energy lies with
                                             probability `level`: a multiple of `energy_std` that a calibration found
    `forces_interval`       eV/Å, [N]        the same of the length of a force's error
    ======================  ===============  ====================================================================

    The spread costs about M times a mean evaluation, so it is computed only when asked for:
    `calc.get_property("forces_std", atoms)`, or always with `always_std=True`; results then lie
    in `calc.results`.

    In one or two periodic directions the stress is the part within them, divided by the volume of the cell, vacuum
    included; its other components are zero, so that ASE's cell filters leave the vacuum as it is. Without a volume, or
    a periodic direction, there is none (`PropertyNotImplementedError`).

    The calculator can be pickled, and `Atoms` with it, while its file lies unchanged where it was.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "stresses"]
    implemented_properties += [*STD_PROPERTIES, *INTERVAL_PROPERTIES, *NOISE_PROPERTIES, *OUTSIDE_PROPERTIES]

    def __init__(
        self,
        model: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        always_std: bool = False,
        level: float = contract.INTERVAL_LEVEL,
    ) -> None:
        """`model`: an exported file. `threads`: torch's intra-op threads, process-wide. `level`: of intervals."""
        super().__init__()
        self._member: int | None = None
        self.level = level
        if threads is not None and threads < 1:
            raise ValueError(f"threads = {threads}; allowed is 1 or more")
        self._load(Path(model).absolute(), device, threads)
        self._checksum = _checksum(self._model)
        if always_std:
            uncertainty.require_committee(self.artefact.n_members)
        self.always_std = always_std
        self._warn_of_stress = self.artefact.labels is not None and "stress" not in self.artefact.labels

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """ASE's, with a warning (once) about a stress from a model that was trained on none."""
        if name in ("stress", "stresses") and allow_calculation and self._warn_of_stress:  # not when ASE writes a file
            self._warn_of_stress = False
            labels = ", ".join(self.artefact.labels or ())
            warnings.warn(
                f"{self.artefact.path}: no stress was among its training labels ({labels}); "
                "its stress and pressure may be far off",
                UserWarning,
                stacklevel=3,
            )
        return super().get_property(name, atoms, allow_calculation)

    def member(self, k: int) -> "MollifieldCalculator":
        """A calculator of member `k` (from 0) alone, which has no spread. Errors: see `Artefact.member`."""
        other = copy.copy(self)
        Calculator.__init__(other)  # results and parameters of its own
        other.artefact, other._member, other.always_std = self.artefact.member(k), k, False
        return other

    def _load(self, model: Path, device: str, threads: int | None) -> None:
        self._model, self._device, self._threads = model, device, threads
        if threads is not None:
            torch.set_num_threads(threads)
        artefact = load_artefact(model, device)
        self.artefact = artefact if self._member is None else artefact.member(self._member)

    def __getstate__(self) -> dict[str, Any]:
        """All but the model, of which the file's path and checksum are kept."""
        return {name: value for name, value in self.__dict__.items() if name != "artefact"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Read the model again; raises `ValueError` if its file is another one by now."""
        self.__dict__.update(state)
        if self._model.exists() and _checksum(self._model) != self._checksum:
            raise ValueError(f"{self._model}: has changed since the calculator was pickled")
        self._load(self._model, self._device, self._threads)

    def __deepcopy__(self, memo: dict[int, Any]) -> "MollifieldCalculator":
        """A calculator that shares the model, which nothing changes."""
        memo[id(self.artefact)] = self.artefact
        other = memo[id(self)] = type(self).__new__(type(self))
        other.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return other

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None:
            raise ValueError("no atoms to calculate: give them to calculate(), or attach the calculator to them")
        atoms = self.atoms
        wanted = properties or ["energy"]
        intervals = [name for name in INTERVAL_PROPERTIES if name in wanted]
        with_std = self.always_std or bool(intervals) or any(name in STD_PROPERTIES for name in wanted)
        if with_std:
            uncertainty.require_committee(self.artefact.n_members)
        out = evaluate(
            self.artefact,
            atoms.get_chemical_symbols(),
            atoms.positions,
            atoms.cell.array,
            atoms.pbc,
            members=with_std,
            atomic_virials="stresses" in wanted,
        )
        forces = out.forces.cpu().numpy()
        energy = float(out.energies.mean())
        results: dict[str, Any] = {
            "energy": energy,
            "free_energy": energy,
            "energies": out.atomic_energies.mean(0).cpu().numpy(),
            "forces": forces.mean(0),
        }
        if not np.isfinite(energy) or not np.isfinite(results["forces"]).all():
            raise ValueError(f"the model gives energy {energy} eV: not finite for this frame")
        if atoms.pbc.any() and atoms.cell.rank == 3:
            results["stress"] = _stress(out.virial.mean(0).cpu().numpy(), atoms)
            if out.atomic_virials is not None:
                results["stresses"] = _stress(out.atomic_virials.mean(0).cpu().numpy(), atoms)
        elif {"stress", "stresses"} & set(wanted):
            raise PropertyNotImplementedError(
                "a stress needs a periodic direction and three lattice vectors that span a volume; "
                f"pbc = {atoms.pbc.tolist()}, cell = {atoms.cell.tolist()}"
            )
        if with_std:
            found = uncertainty.spread(self.artefact, out)
            results.update({name: getattr(found, name) for name in STD_PROPERTIES})
        if with_std or any(name in OUTSIDE_PROPERTIES for name in wanted):
            beyond = uncertainty.outside(self.artefact, out, found if with_std else None)
            results.update({"outside": beyond.atoms, "energy_outside": beyond.energy})
        if any(name in NOISE_PROPERTIES for name in wanted):
            results.update(self._noise(out))
        for name in intervals:
            results[name] = self._interval(name, found, out.types.cpu().numpy())
        self.results = results

    def _noise(self, out: Evaluation) -> dict[str, Array | float]:
        """Of the labels."""
        noise = uncertainty.aleatoric(self.artefact, out)
        if noise is None:
            raise PropertyNotImplementedError(
                f"{self.artefact.path} states no noise of its force labels (`mollifield noise` writes it)"
            )
        found = (noise.forces_std, noise.forces_cov, noise.energy_std)
        return dict(zip(NOISE_PROPERTIES, found, strict=True))

    def _interval(self, name: str, spread: uncertainty.Spread, types: NDArray[np.int64]) -> Array | float:
        """Half lengths of the intervals of `level`."""
        calibration = self.artefact.calibration
        interval: Array | float | None
        if name == "energy_interval":
            multiple = calibration.energy_multiple(self.level)
            interval = None if multiple is None else multiple * spread.energy_std
        else:
            multiples = calibration.multiples(self.level, types)
            interval = None if multiples is None else multiples * spread.forces_std
        if interval is None:
            levels = ", ".join(f"{level:g}" for level in calibration.levels()) or "none"
            raise PropertyNotImplementedError(
                f"{self.artefact.path} has no {name} of level {self.level:g}; levels that it has for forces: {levels} "
                "(`mollifield calibrate` makes them)"
            )
        return interval


def _stress(virials: Array, atoms: Atoms) -> Array:
    """`[..., 3, 3]` in eV -> the part within the periodic directions, Voigt `[..., 6]` in eV/Å³."""
    if not atoms.pbc.all():
        directions, _ = np.linalg.qr(atoms.cell.array[atoms.pbc].T)
        within = directions @ directions.T
        virials = within @ virials @ within
    return full_3x3_to_voigt_6_stress(-virials / atoms.get_volume())


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
