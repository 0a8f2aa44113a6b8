"""Do error bars hold the labels of strained crystals that a committee has not seen?

    OMP_NUM_THREADS=1 python benchmarks/properties_strain.py prepare runs/strain Si_train.extxyz Si_test.extxyz
    OMP_NUM_THREADS=1 python benchmarks/properties_strain.py measure runs/strain

The files are those of Zuo et al., J. Phys. Chem. A 124, 731 (2020): silicon by PBE, thermal, with vacancies, surfaces,
and strained along six modes. Strains of 2 and 6% are kept from the training, along *all* modes, since modes (and the
signs of a shear) are copies of each other by symmetry; what is counted is one mode of stretching and one of shearing.
Every third of the other frames calibrates. `--without-strain` keeps all strained frames from the training.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import GPa

from mollifield import MollifieldCalculator
from mollifield.properties import Property, Report, samples_of
from mollifield.properties.finding import Finding, Quantity, scalar
from mollifield_train.calibrate.fitting import calibrate_file
from mollifield_train.config import TrainConfig, validated
from mollifield_train.training.run import train
from mollifield_train.uncertainty.posterior_file import make_posterior

KINDS = ("ensemble", "pops")
KEPT = (0.02, 0.06)
STRETCH, SHEAR = 0, 3
"""Modes that are counted: along x, and in the plane of x and y."""
COMPONENTS = {STRETCH: {"xx": 0, "yy": 1}, SHEAR: {"xx": 0, "yy": 1, "zz": 2, "xy": 5}}
"""Of the stress, without those that symmetry makes equal or zero."""
EVERY = 3


def strain_of(atoms: Atoms) -> tuple[int, float] | None:
    """Mode and size of a strained frame."""
    found = re.search(r"mode (\d), strain (\S+)", atoms.info["description"])
    return None if found is None else (int(found[1]), float(found[2]))


def is_kept(atoms: Atoms, all_of_them: bool) -> bool:
    """From the training."""
    strain = strain_of(atoms)
    return strain is not None and (all_of_them or any(np.isclose(abs(strain[1]), size) for size in KEPT))


def prepare(folder: Path, files: Sequence[Path], epochs: int, without_strain: bool) -> None:
    """Frames, a training, calibrations."""
    folder.mkdir(parents=True, exist_ok=True)
    first, second = (ase.io.read(path, ":") for path in files)
    frames = [*first, *second]
    others = [atoms for atoms in frames if strain_of(atoms) is None]
    strained = [atoms for atoms in frames if strain_of(atoms) is not None]
    ground = min(others, key=lambda atoms: atoms.get_potential_energy() / len(atoms))
    others.remove(ground)
    held_out, rest = others[::EVERY], [atoms for k, atoms in enumerate(others) if k % EVERY]
    sides = {
        "train": [ground, *rest, *(atoms for atoms in strained if not is_kept(atoms, without_strain))],
        "held-out": held_out,
        "strained": [ground, *(atoms for atoms in strained if is_kept(atoms, False))],
    }
    paths = {side: folder / f"{side}.xyz" for side in sides}
    for side, some in sides.items():
        ase.io.write(paths[side], some, format="extxyz")
        print(f"{side}: {len(some)} frames")
    values = {
        "directory": str(folder / "run"),
        "data": {"train": str(paths["train"]), "valid_fraction": 0.0},
        "model": {"preset": "fast", "r_max": 5.0},
        "optimiser": {"epochs": epochs},
    }
    model = train(validated(TrainConfig, values, "benchmark"), progress=False).directory / "model.pt"
    calibrate_file(model, paths["held-out"], folder / "ensemble.pt")
    make_posterior(model, paths["train"], folder / "pops.pt", "pops", noise_frames=[paths["held-out"]])
    calibrate_file(folder / "pops.pt", paths["held-out"], folder / "pops.pt")


@dataclass(frozen=True)
class Strained(Property):
    """Energies above the ground state (meV an atom), stresses (GPa), and the elastic constants with clamped ions (GPa)
    that the stresses of the least strains give; the first structure is the ground state."""

    text: ClassVar[str] = "energies and stresses of strained crystals"

    def __call__(self, calculator: Calculator, structures: Sequence[Atoms]) -> Finding:
        ground, *strained = structures
        zero = calculator.get_potential_energy(ground) / len(ground)
        found: dict[str, Quantity] = {}
        stresses = {}
        for atoms in strained:
            mode, size = strain_of(atoms) or (-1, 0.0)
            stress = calculator.get_stress(atoms) / GPa
            name = f"{'stretch' if mode == STRETCH else 'shear'} {size:+.2f}"
            above = 1e3 * (calculator.get_potential_energy(atoms) / len(atoms) - zero)
            found[f"{name}: energy"] = Quantity(np.array(above), "meV", abs(above), "energy")
            for component, index in COMPONENTS[mode].items():
                found[f"{name}: {component}"] = scalar(stress[index], "GPa")
            stresses[mode, size] = stress, _small_strain(ground, atoms)
        for name, value in _constants(stresses).items():
            found[name] = scalar(value, "GPa")
        return Finding(found, visited=list(structures), start=list(structures))

    def draw(self, report: Report, figure: Any) -> None:
        raise NotImplementedError("the benchmark prints")


def _small_strain(ground: Atoms, atoms: Atoms) -> np.ndarray:
    gradient = np.linalg.solve(ground.cell.array, atoms.cell.array)
    return 0.5 * (gradient + gradient.T) - np.eye(3)


def _constants(stresses: dict[tuple[int, float], tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """By central differences."""
    least = min(KEPT)
    (up, more), (down, less) = stresses[STRETCH, least], stresses[STRETCH, -least]
    strain = more[0, 0] - less[0, 0]
    found = {"C11": (up[0] - down[0]) / strain, "C12": (up[1] - down[1]) / strain}
    (up, more), (down, less) = stresses[SHEAR, least], stresses[SHEAR, -least]
    return found | {"C44": (up[5] - down[5]) / (2.0 * (more[0, 1] - less[0, 1]))}


class _Labels(Calculator):
    """What the frames themselves say."""

    implemented_properties = ["energy", "stress"]

    def __init__(self, frames: Sequence[Atoms]) -> None:
        super().__init__()
        self.frames = frames

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        return next(one for one in self.frames if one == atoms).calc.results[name]


def measure(folder: Path) -> dict[str, Any]:
    """Each number with its label, and what each kind says."""
    frames = ase.io.read(folder / "strained.xyz", ":")
    counted = [atoms for atoms in frames[1:] if strain_of(atoms)[0] in COMPONENTS]
    # The signs of a shear are copies of each other; both enter C44, one is counted.
    structures = [frames[0], *counted]
    expected = Strained()(_Labels(structures), structures).quantities
    found = {}
    for kind in KINDS:
        samples = samples_of(MollifieldCalculator(folder / f"{kind}.pt"))
        report = Strained().measure(samples, [atoms.copy() for atoms in structures])
        found[kind] = report.as_dict() | {"believed": [name for name in expected if report.believed(name)]}
    names = [name for name in expected if not name.startswith("shear -")]
    return {"labels": {name: float(expected[name].value) for name in names}, "kinds": found}


def show(found: dict[str, Any]) -> None:
    """A line a number, and how many intervals hold the label."""
    held: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for name, label in found["labels"].items():
        cells = []
        for kind in KINDS:
            one = found["kinds"][kind]["quantities"][name]
            error, half = one["value"] - label, one["interval"]
            held[kind].append(abs(error) <= half)
            doubted = "" if name in found["kinds"][kind]["believed"] else " (not believed)"
            cells.append(f"{kind} {error:+9.3g} ± {half:8.3g} {'in ' if held[kind][-1] else 'OUT'}{doubted:15}")
        print(f"{name:<24}{label:9.4g}  {'  '.join(cells)}")
    for kind in KINDS:
        factors = found["kinds"][kind]["calibration_factors"]
        print(f"{kind}: {sum(held[kind])} of {len(held[kind])} hold the label; factors {factors}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["prepare", "measure"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", type=Path, nargs="*", help="Si_train.extxyz Si_test.extxyz")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--without-strain", action="store_true")
    options = parser.parse_args()
    if options.step == "prepare":
        prepare(options.folder, options.files, options.epochs, options.without_strain)
    else:
        found = measure(options.folder)
        (options.folder / "found.json").write_text(json.dumps(found, indent=1))
        show(found)


if __name__ == "__main__":
    main()
