"""Do the intervals of `mollifield property` hold the properties of the method that labelled the training frames?

    OMP_NUM_THREADS=1 python benchmarks/properties.py prepare runs/properties [--materials Si Cu] [--epochs 200]
    OMP_NUM_THREADS=1 python benchmarks/properties.py measure runs/properties [--materials Si Cu]

For each material a committee of four learns frames that a cheap method labelled (crystals: strained and shaken cells,
vacancies, slabs; ethanol: shaken conformers), and is calibrated with others; a posterior (`pops`) of its first
member's last layer is made and calibrated likewise. Each property is then computed with the method itself and with
the files. Settings were chosen on Al.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk, molecule, surface
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield import MollifieldCalculator
from mollifield.properties import (
    Barrier,
    Defects,
    Elastic,
    EquationOfState,
    Phonons,
    Property,
    Report,
    Samples,
    samples_of,
)
from mollifield_train.calibrate.fitting import calibrate_file
from mollifield_train.config import TrainConfig, validated
from mollifield_train.training.run import train
from mollifield_train.uncertainty.posterior_file import make_posterior

MATERIALS = {"Al": 4.0, "Si": 5.43, "Cu": 3.6, "Ag": 4.07}
"""Å, about the lattice constant."""
ETHANOL = "ethanol"
KINDS = ("ensemble", "pops")
FRAMES = {"cell": 24, "vacancy": 8, "slab": 8}
"""For the training, as many for the noise of a posterior, and twice as many (these among them) for the calibration."""


def oracle(material: str) -> Calculator:
    """GFN2-xTB, Stillinger and Weber's silicon, or effective medium theory."""
    if material == ETHANOL:
        from tblite.ase import TBLite

        return TBLite(method="GFN2-xTB", verbosity=0)
    if material != "Si":
        return EMT()
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import StillingerWeber
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si

    return Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))


def crystal(material: str) -> Atoms:
    """A cube."""
    return bulk(material, a=MATERIALS[material], cubic=True)


def conformer(angle: float) -> Atoms:
    """Ethanol with this torsion of its hydroxyl group: 180 is trans, 60 gauche."""
    atoms = molecule("CH3CH2OH")
    atoms.set_dihedral(0, 1, 2, 3, angle, indices=[3])
    return atoms


def structures(material: str) -> list[Atoms]:
    """That a property is asked of."""
    return [conformer(180.0), conformer(65.0)] if material == ETHANOL else [crystal(material)]


def frame(material: str, kind: str, rng: np.random.Generator) -> Atoms:
    """Strained or turned, shaken and labelled."""
    atoms = conformer(rng.uniform(0.0, 360.0)) if material == ETHANOL else crystal(material)
    if kind == "vacancy":
        atoms = atoms * (2, 2, 2)
        del atoms[int(rng.integers(len(atoms)))]
    elif kind == "slab":
        miller = [(1, 0, 0), (1, 1, 0), (1, 1, 1)][int(rng.integers(3))]
        atoms = surface(atoms, miller, 4, vacuum=6.0)
        atoms.pbc = True
    strain = rng.normal(0.0, 0.02 if kind == "cell" else 0.007, (3, 3))  # of a molecule's cell, which is empty
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
    atoms.positions += rng.normal(0.0, rng.uniform(0.01, 0.10), atoms.positions.shape)
    atoms.calc = oracle(material)
    names = ("energy", "forces") if material == ETHANOL else ("energy", "forces", "stress")
    labels = {name: atoms.calc.get_property(name, atoms) for name in names}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def prepare(material: str, folder: Path, epochs: int) -> None:
    """Frames, training, calibrations."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for seed, side in enumerate(("train", "noise", "more")):
        rng = np.random.default_rng([seed, *material.encode()])
        kinds = {"molecule": sum(FRAMES.values())} if material == ETHANOL else FRAMES
        frames = [frame(material, kind, rng) for kind, n in kinds.items() for _ in range(n)]
        files[side] = folder / f"{side}.xyz"
        ase.io.write(files[side], frames, format="extxyz")
    values = {
        "directory": str(folder / "run"),
        "data": {"train": str(files["train"]), "valid_fraction": 0.0},
        "model": {"preset": "fast", "r_max": 5.0},
        "optimiser": {"epochs": epochs, "batch_size": 4},
    }
    result = train(validated(TrainConfig, values, "benchmark"), progress=False)
    model = result.directory / "model.pt"
    held_out = [files["noise"], files["more"]]
    calibrate_file(model, held_out, folder / "ensemble.pt")
    for kind in KINDS[1:]:
        make_posterior(model, files["train"], folder / f"{kind}.pt", kind, noise_frames=[files["noise"]])
        calibrate_file(folder / f"{kind}.pt", held_out, folder / f"{kind}.pt")


def cases(material: str) -> dict[str, tuple[Property, list[str]]]:
    """Properties, and which of their numbers count."""
    if material == ETHANOL:
        return {"neb": (Barrier(fmax=0.02), ["forward", "reverse", "reaction"])}
    return {
        "eos": (EquationOfState(), ["a", "B"]),
        "elastic": (Elastic(), ["C11", "C12", "C44"]),
        "phonons": (Phonons(temperatures=(100.0,)), ["highest frequency", "Cv 100 K"]),
        "defect": (Defects(), ["vacancy", "surface 100", "surface 111"]),
    }


def measure(material: str, folder: Path) -> list[dict[str, Any]]:
    """A row a number and kind; a property whose rows are in the folder is not computed again."""
    reference, rows = Samples(oracle(material), []), []
    for name, (calculation, numbers) in cases(material).items():
        path = folder / f"{name}.json"
        if not path.exists():
            expected = calculation.measure(reference, structures(material))
            found = {}
            for kind in KINDS:
                samples = samples_of(MollifieldCalculator(folder / f"{kind}.pt"))
                found[kind] = calculation.measure(samples, structures(material))
            path.write_text(json.dumps([row(material, number, expected, found) for number in numbers], indent=1))
        rows += json.loads(path.read_text())
    return rows


def row(material: str, number: str, expected: Report, found: dict[str, Report]) -> dict[str, Any]:
    """The oracle's value, and what each kind says."""
    kinds = {
        kind: report.estimates[number].as_dict()
        | {"believed": report.believed(number), "doubts": report.doubts, "factors": report.calibration_factors}
        for kind, report in found.items()
    }
    return {"material": material, "number": number, "reference": float(expected.estimates[number].value), **kinds}


def show(rows: list[dict[str, Any]]) -> None:
    """A line a number, and how many intervals hold the reference."""
    for one in rows:
        cells = []
        for kind in KINDS:
            error, half = one[kind]["value"] - one["reference"], one[kind]["interval"]
            doubted = "" if one[kind]["believed"] else " (not believed)"
            cells.append(f"{kind} {error:+9.3g} ± {half:8.3g} {'in ' if abs(error) <= half else 'OUT'}{doubted:15}")
        print(f"{one['material']} {one['number']:<18}{one['reference']:9.4g}  {'  '.join(cells)}")
    for kind in KINDS:
        for text, some in (("", rows), ("believed ", [one for one in rows if one[kind]["believed"]])):
            held = sum(abs(one[kind]["value"] - one["reference"]) <= one[kind]["interval"] for one in some)
            print(f"{kind}: {held} of {len(some)} {text}hold the reference")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["prepare", "measure"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--materials", nargs="+", default=[*MATERIALS, ETHANOL], choices=[*MATERIALS, ETHANOL])
    parser.add_argument("--epochs", type=int, default=200)
    options = parser.parse_args()
    if options.step == "prepare":
        for material in options.materials:
            prepare(material, options.folder / material, options.epochs)
    else:
        show([one for material in options.materials for one in measure(material, options.folder / material)])


if __name__ == "__main__":
    main()
